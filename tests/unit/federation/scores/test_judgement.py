"""When a member rejects a model, and when the members together do."""

import math

import numpy as np
import pytest

from securefl.config.schema import ServerSettings
from securefl.config.vote import VoteSettings
from securefl.federation.scores.ballots import Vote, counted
from securefl.federation.scores.judgement import (
    ABSTAIN,
    ACCEPT,
    DEPARTMENT,
    DIRECTION,
    EXPOSURE,
    LENGTH,
    WORSE,
    Judge,
    Part,
    Turn,
    rejected,
)
from securefl.ml.metrics.sums import Ratio
from securefl.tasks.base import Judged

STRICT = VoteSettings(worse=0.05, exposure=0.5, chance=0.5)
FIFTH = Part(0.2, 5)
JUDGE = Judge(STRICT, higher_is_better=True)
"""With 100 cases, a tenth of the metric may be lost, and a product gain 55 % of the lists."""


def seen(value=0.5, cases=100, department=0.5, listed=(10, 10, 10)):
    parts = {"all": Ratio(value * cases, cases), "department 0": Ratio(department * 40, 40)}
    return Judged(parts, np.array(listed), cases)


def ballot_of(judge, new, accepted):
    """The ballot by the cases alone."""
    return judge.ballot(new, accepted, Turn())


def test_what_stays_as_it_is_gets_accepted():
    assert ballot_of(JUDGE, seen(), seen()) == ACCEPT
    assert ballot_of(JUDGE, seen(0.9, department=0.9), seen()) == ACCEPT


@pytest.mark.parametrize(("value", "ballot"), [(0.46, ACCEPT), (0.44, WORSE), (math.nan, WORSE)])
def test_a_loss_beyond_the_agreed_is_worse(value, ballot):
    assert ballot_of(JUDGE, seen(value), seen()) == ballot


def test_an_error_that_grows_is_worse():
    assert ballot_of(Judge(STRICT, higher_is_better=False), seen(0.6), seen(0.5)) == WORSE
    assert ballot_of(Judge(STRICT, higher_is_better=False), seen(0.4), seen(0.5)) == ACCEPT


def test_few_cases_leave_room_for_chance():
    """A member of 25 cases may lose 15 %, one of 10,000 only 5.5 %."""
    assert ballot_of(JUDGE, seen(0.44, cases=25), seen(0.5, cases=25)) == ACCEPT
    assert ballot_of(JUDGE, seen(0.47, cases=10_000), seen(0.5, cases=10_000)) == WORSE


@pytest.mark.parametrize(("listed", "ballot"), [((64, 10, 10), ACCEPT), ((70, 10, 10), EXPOSURE)])
def test_a_product_that_floods_the_lists_is_seen(listed, ballot):
    assert ballot_of(JUDGE, seen(listed=listed), seen()) == ballot
    assert ballot_of(JUDGE, seen(), seen(listed=listed)) == ballot  # or vanishes from them


def test_a_spoiled_department_is_seen():
    assert ballot_of(JUDGE, seen(department=0.4), seen()) == ACCEPT
    assert ballot_of(JUDGE, seen(department=0.3), seen()) == DEPARTMENT


def test_a_member_without_cases_abstains():
    assert ballot_of(JUDGE, seen(0.1), seen(cases=19)) == ABSTAIN
    assert ballot_of(JUDGE, seen(0.1), seen(math.nan)) == ABSTAIN


def test_a_task_without_lists_is_judged_by_its_metric():
    plain = Judged({"all": Ratio(50.0, 100.0)})
    assert ballot_of(JUDGE, plain, plain) == ACCEPT
    assert ballot_of(JUDGE, Judged({"all": Ratio(30.0, 100.0)}), plain) == WORSE


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([WORSE, EXPOSURE, DEPARTMENT, ACCEPT, ACCEPT], True),
        ([WORSE, WORSE, ACCEPT, ACCEPT, ACCEPT], False),
        ([WORSE, WORSE, ACCEPT, ABSTAIN, ABSTAIN], True),
        ([WORSE, ABSTAIN, ABSTAIN, ABSTAIN, ABSTAIN], False),
        ([ABSTAIN] * 5, False),
    ],
)
def test_the_quorum_is_of_those_who_voted(said, verdict):
    """And no member rejects alone: the smallest of five cannot stop the others."""
    names = tuple(f"member {n}" for n in range(len(said)))
    ballots = dict(zip(names, said, strict=True))
    counts = counted(STRICT, ballots, names)
    assert rejected(counts, STRICT.quorum) is verdict
    assert sum(counts.values()) == 5
    assert all(ballot in Vote(ballots).reasons for ballot in said)


def test_the_absent_count_as_it_was_agreed():
    names = ("a", "b", "c", "d", "e")
    ballots = dict.fromkeys(names[:2], WORSE) | {"c": ACCEPT}
    strict = STRICT.model_copy(update={"absent": "reject"})
    assert counted(STRICT, ballots, names)[ABSTAIN] == 2
    assert counted(strict, ballots, names)[WORSE] == 4
    vote = Vote(ballots, {}, names[3:])
    assert "no ballot of d, e" in vote.reasons


@pytest.mark.parametrize(
    ("ended", "ballot"),
    [([1.0, 1.0], ACCEPT), ([-1.0, 1.0], DIRECTION), ([3.0, 3.0], LENGTH), ([0.0, 0.0], ACCEPT)],
)
def test_change_is_compared_with_the_own_update(ended, ballot):
    """A model that did not move is judged by the cases alone."""
    began, own = np.zeros(2, np.float32), np.array([1.0, 1.0])
    turn = Turn.of(ServerSettings(), (own, FIFTH), began, np.array(ended, np.float32))
    assert JUDGE.ballot(seen(), seen(), turn) == ballot


def test_own_update_says_nothing_of_other_optimizers():
    began, own = np.zeros(2, np.float32), np.array([1.0, 1.0])
    turn = Turn.of(
        ServerSettings(optimizer="fedadam"), (own, FIFTH), began, -own.astype(np.float32)
    )
    assert JUDGE.by_update(turn) == ABSTAIN
    assert JUDGE.ballot(seen(), seen(), turn) == ACCEPT


@pytest.mark.parametrize("weight", [0.05, 0.2, 0.6])
def test_others_at_right_angles_are_usual_for_each_weight(weight):
    """A small member moves the mean little, and is no less content for it."""
    updates = np.eye(5)
    weights = np.array([weight, *[(1 - weight) / 4] * 4])
    ended = (weights @ updates).astype(np.float32)
    turn = Turn.of(ServerSettings(), (updates[0], Part(weight, 5)), np.zeros(5, np.float32), ended)
    assert turn.direction == pytest.approx(1.0, abs=1e-6)
    assert JUDGE.by_update(turn) == ACCEPT
