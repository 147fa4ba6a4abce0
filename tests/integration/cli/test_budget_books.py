"""`securefl budget show` and `history`, and what `--book` and `--policy` do for a run."""

import pytest

FORBIDS = """\
version = 1
data_set = "ratings"
dp = ["none"]
modes = ["plain"]
"""


@pytest.fixture
def ran(cli, ratings):
    def make(*options):
        return cli("run", ratings, "--no-references", "--quiet", *options)

    return make


def test_books_say_when_there_is_nothing_in_them(cli):
    for command in ("show", "history"):
        outcome = cli("budget", command)
        assert (outcome.code, outcome.err) == (0, "")
        assert "there is no" in outcome.out or "there is none" in outcome.out


def test_a_run_stands_in_the_books_that_were_named(ran, cli):
    result = ran("--book", "mine", "--rounds", "1", "--format", "json").json
    assert result["refusals"] == []
    assert [cost["round"] for cost in result["history"]] == [1]
    history = cli("budget", "history", "--book", "mine", "--format", "json").json
    assert len(history["runs"]) == len(result["members"])
    first = history["runs"][0]
    assert (first["task"], first["dp"], first["state"]) == ("recommendation", "none", "ended")
    assert (first["epsilon"], first["releases"]) == (None, 1)
    assert cli("budget", "history", "--format", "json").json["runs"] == []

    shown = cli("budget", "show", "--book", "mine")
    assert "no bound" in shown.out
    assert "no epsilon covers them" in shown.out
    name = result["members"][0]["name"]
    one = cli("budget", "show", "--book", "mine", "--member", name, "--format", "json").json
    assert [account["member"] for account in one["accounts"]] == [name]


def test_a_repeated_run_is_several_runs_in_the_books(ran, cli):
    members = ran("--repeat", "2", "--rounds", "1", "--format", "json").json["members"]
    runs = cli("budget", "history", "--format", "json").json["runs"]
    assert len(runs) == 2 * len(members)


def test_a_policy_binds_and_says_why(ran, here):
    (here / "policy.toml").write_text(FORBIDS)
    ran("--policy", "policy.toml").refused(
        "no member takes part", "does not allow the mode", code=2
    )


def test_a_member_that_refuses_is_named_in_the_summary(ran, cli, here):
    names = [m["name"] for m in ran("--rounds", "1", "--format", "json").json["members"]]
    (here / "policies").mkdir()
    for name in names:
        text = FORBIDS if name == names[0] else FORBIDS.replace('"plain"', '"secure"')
        (here / "policies" / f"{name}.toml").write_text(text)
    outcome = ran("--rounds", "1", "--policy", "policies")
    assert outcome.code == 0
    assert f"{names[0]} refused" in " ".join(outcome.out.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--policy", "nowhere.toml"), ("nowhere.toml does not exist",)),
        (("--policy", "ratings.toml"), ("ratings.toml", "unknown key")),
        (("--book", "ratings.toml"), ("ratings.toml", "is a file")),
    ],
)
def test_wrong_places_are_one_line_before_anything_is_begun(ran, here, options, words):
    ran("--out", "begun", *options).refused(*words)
    assert not (here / "begun").exists()


def test_a_book_that_nobody_has_and_one_that_is_damaged_are_one_line(cli, here):
    cli("budget", "show", "--member", "nobody").refused("no ledger of 'nobody'")
    (here / "books").mkdir()
    (here / "books" / "north.sqlite").write_text("this is no book at all")
    for command in ("show", "history"):
        cli("budget", command, "--book", "books").refused("north.sqlite is damaged")
