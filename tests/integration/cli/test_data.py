"""`securefl data` and what a person meets before a run."""

import tomli_w

from securefl.consortium.keys.key_files import read_passphrase
from support.small_runs import purchases_in


def test_describe_counts_each_retailer(cli, ratings):
    outcome = cli("data", "describe", ratings)
    assert outcome.code == 0
    assert outcome.err == ""
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "Customers" in outcome.out
    for number in range(5):
        assert f"\nretailer-{number} " in outcome.out


def test_describe_as_json_is_one_object(cli, ratings):
    outcome = cli("data", "describe", ratings, "--format", "json")
    assert outcome.err == ""
    assert outcome.json["source"] == "tutorial"
    assert [member["name"] for member in outcome.json["members"]] == [
        f"retailer-{number}" for number in range(5)
    ]
    assert all(300 <= member["transactions"] <= 600 for member in outcome.json["members"])


def test_describe_asks_the_task(cli, ratings):
    """How much each retailer could train on, so that no run is needed to learn that it cannot."""
    text = cli("data", "describe", ratings).out
    assert "Training samples for task recommendation: retailer-0 " in text
    fit = cli("data", "describe", ratings, "--format", "json").json["task"]
    assert fit["task"] == "recommendation"
    assert set(fit["samples"]) == {f"retailer-{number}" for number in range(5)}
    assert min(fit["samples"].values()) > 0


def test_describe_says_what_the_task_lacks(cli, here):
    """In the words of the run that would end with it."""
    tree = purchases_in(here)
    tree["recommendation"]["min_products"] = 4000
    (here / "thin.toml").write_text(tomli_w.dumps(tree))
    outcome = cli("data", "describe", "thin.toml")
    assert outcome.code == 0
    assert "Task recommendation cannot train: north: no customer bought" in outcome.out


def test_a_failed_start_leaves_no_folder(cli, here):
    """All members that are too thin are named, with what helps; the next try needs no new name."""
    tree = purchases_in(here)
    for name in ("south", "west"):
        path = here / f"{name}.csv"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    tree["data"]["rules"]["short_coverage"] = "keep"
    (here / "thin.toml").write_text(tomli_w.dumps(tree))
    outcome = cli("run", "thin.toml", "--out", "runs/first", "--quiet")
    assert outcome.code == 2
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("securefl:")]
    assert "south: no customer" in line
    assert "west: no customer" in line
    assert "securefl data init proposes" in line
    assert not (here / "runs" / "first").exists()


def test_a_byte_order_mark_is_no_part_of_a_file(cli, here):
    """Of a configuration and of a passphrase, as editors on Windows write it."""
    tree = purchases_in(here)
    (here / "a.toml").write_text("\ufeff" + tomli_w.dumps(tree), encoding="utf-8")
    assert cli("data", "describe", "a.toml").code == 0
    for name, mark in (("plain", ""), ("marked", "\ufeff")):
        (here / name).write_text(f"{mark}four words are better\n", encoding="utf-8")
        (here / name).chmod(0o600)
    assert cli("keygen", "north", "--passphrase-file", "marked").code == 0
    assert read_passphrase(here / "marked") == read_passphrase(here / "plain")


def test_the_task_picks_what_a_source_generates(cli):
    out = cli("data", "describe", "--data", "tutorial", "--task", "demand", "--format=json").json
    assert out["catalogue"] == 100
