"""docs/explanation/what-leaves.md lists all that leaves a member, and nothing else does."""

import re
from typing import get_args

import pytest

from securefl.federation import messages as m
from securefl.federation.member.answers import (
    ANSWERS,
    QUERY_ANSWERS,
    REFUSING_ANSWERS,
    Phase,
    Protection,
)
from support.paths import page

SECTION = page("what-leaves.md").read_text("utf-8")
TABLES = {"training": ANSWERS, "refusing": REFUSING_ANSWERS, "query": QUERY_ANSWERS}


def kind_of(message):
    return message.model_fields["kind"].default


def tables():
    """The cells of each table of the section, without heads."""
    found = re.findall(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", SECTION, flags=re.M)
    return [[line.strip("|\n ").split(" | ") for line in rows.splitlines()] for rows in found]


def some(kinds, chosen):
    return "any" if chosen == frozenset(kinds) else ", ".join(k.value for k in kinds if k in chosen)


def row_of(rule):
    variant = [f"{name} = {str(value).lower()}" for name, value in rule.variant]
    return [
        ", ".join([f"`{kind_of(rule.question)}`", *variant]),
        ", ".join(f"`{kind_of(reply)}`" for reply in rule.reply),
        some(Phase, rule.phases),
        some(Protection, rule.protections),
        rule.model.value,
        rule.often.value,
        rule.price.value,
    ]


@pytest.mark.parametrize("number", range(3), ids=list(TABLES))
def test_page_has_the_rows_of_answers(number):
    """In order, each with a reader and a reason in its last cell."""
    rows = tables()[number]
    assert [row[:7] for row in rows] == [row_of(rule) for rule in list(TABLES.values())[number]]
    assert all(len(row) == 8 and len(row[7]) > 10 for row in rows)


def test_page_names_every_message():
    """A new kind of message has to be listed: as a question, as an answer, or beside the tables."""
    named = set(re.findall(r"`([a-z-]+)`", SECTION))
    assert {kind_of(message) for message in get_args(m.AnyMessage)} <= named


def test_observer_s_questions_are_in_no_table():
    """They are named on the page as what no member answers."""
    asked = {rule.question for rules in TABLES.values() for rule in rules}
    observed = {m.ObserveModel, m.ObserveBaseline, m.ObserveLocalOnly, m.DebugDisclose}
    observed |= {m.ObserveRounding}
    assert not asked & observed
    sentence = SECTION[SECTION.index("It asks with") : SECTION.index("which no member answers")]
    assert set(re.findall(r"`([a-z-]+)`", sentence)) == {kind_of(message) for message in observed}
