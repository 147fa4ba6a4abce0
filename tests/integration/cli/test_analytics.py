"""`securefl analytics`: answers, their protection, and errors in one line."""

import re
import shlex

import click
import pytest

from securefl_cli.commands.analytics import analytics

SALES = """\
[data]
source = "tutorial"
table = "purchases"
customers = 40
items = 30
lines = [5, 10]
"""
CAP = """\
version = 1
data_set = "sales"

[cap.customer]
epsilon = 1.2
delta = 1e-5
"""
COMMANDS = ("sum", "mean", "histogram", "quantiles", "top")


@pytest.fixture
def asked(cli, here):
    (here / "sales.toml").write_text(SALES)

    def ask(text, *options):
        return cli("analytics", *text.split(), "sales.toml", *options)

    return ask


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("sum spend", "Sum of spend"),
        ("mean value", "Mean of value"),
        ("histogram price --bins 4 --range 0 8", "Histogram of price"),
        ("quantiles basket-value --at 0.1,0.9", "Quantiles of basket-value"),
        ("top product -k 3", "Top of product"),
    ],
)
def test_an_answer_comes_with_its_protection(asked, text, heading):
    outcome = asked(text, "--epsilon", "2")
    assert outcome.code == 0, outcome
    assert f"{heading}: 5 of 5 retailers" in outcome.out
    assert "each paid epsilon 2.00 at delta 1e-05" in outcome.out.replace("\n", " ")
    assert "SIMULATION" not in outcome.out
    assert "Exact" not in outcome.out


def test_the_exact_answer_is_shown_only_when_asked_for_and_loudly(asked):
    outcome = asked("top product -k 3", "--epsilon", "2", "--truth")
    assert "SIMULATION" in outcome.out
    assert "Exact" in outcome.out
    assert "of 3 are in the exact list" in outcome.out
    assert "truth" not in asked("top product", "--epsilon", "2", "--format", "json").json


def test_json_has_the_query_the_answer_and_the_price(asked):
    tree = asked("quantiles value --at 0.5", "--epsilon", "2", "--format", "json", "--truth").json
    assert tree["query"]["kind"] == "quantiles"
    assert [row["name"] for row in tree["rows"]] == ["0.5"]
    assert tree["epsilon"] <= 2.0 < tree["elsewhere"]["2"] < tree["elsewhere"]["5"]
    assert set(tree["truth"]["exact"]) == {"0.5"}


def test_negative_counts_are_cut_for_show_alone(asked):
    options = ("--epsilon", "0.01", "--format")
    tree = asked("top product -k 999", *options, "json").json
    assert min(row["value"] for row in tree["rows"]) < 0
    shown = asked("top product -k 999", *options, "text").out
    assert re.search(r"\s-\d", shown) is None


def test_queries_add_up_in_the_books_until_a_cap_refuses_and_nothing_is_charged(asked, cli, here):
    (here / "cap.toml").write_text(CAP)
    options = ("--epsilon", "1", "--book", "books", "--policy", "cap.toml")
    assert asked("mean value", *options).code == 0
    asked("mean value", *options).refused("no answer", "the cap of its policy")
    spent = cli("budget", "show", "--book", "books", "--format", "json").json["accounts"]
    assert len(spent) == 5
    assert all(0.9 < one["epsilon"] <= 1.0 for one in spent)
    runs = cli("budget", "history", "--book", "books", "--format", "json").json["runs"]
    assert len(runs) == 10
    assert {run["task"] for run in runs} == {"analytics"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("top value --epsilon 1", "unknown name 'value'"),
        ("mean basket-sise --epsilon 1", "basket-size"),
        ("mean value", "--epsilon"),
        ("mean value --epsilon 0", "epsilon"),
        ("mean value --epsilon 1 --range 5 1", "smaller to a larger"),
        ("mean value --epsilon 1 --colluding 4", "no honest member"),
        ("mean value --epsilon 1 --delta 0.5", "delta"),
        ("quantiles value --epsilon 1 --at 1.5", "between 0 and 1"),
        ("quantiles value --epsilon 1 --at a,b", "not a list of numbers"),
        ("histogram value --epsilon 1 --records 99999", "records"),
        ("mean value --epsilon 1 --policy none.toml", "none.toml"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_line(asked, text, words):
    asked(text).refused(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_in_the_help_is_understood(cli, name):
    outcome = cli("analytics", name, "--help")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    examples = [line for line in outcome.out.splitlines() if "securefl analytics" in line]
    found = [line for line in examples if "Usage" not in line]
    assert len(found) == 2
    for line in found:
        command = analytics.get_command(click.Context(analytics), name)
        command.make_context(name, shlex.split(line)[3:])


def test_the_columns_of_the_help_are_those_that_there_are(cli):
    from securefl.federation.analytics.columns import COLUMNS, NUMBERS
    from securefl_cli.commands.analytics import NUMBER_COLUMNS, TEXT_COLUMNS

    assert (*NUMBER_COLUMNS, *TEXT_COLUMNS) == COLUMNS
    text = " ".join(cli("analytics", "mean", "--help").out.split())
    assert f"Columns: {', '.join(NUMBERS)}." in text
