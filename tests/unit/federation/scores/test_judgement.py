"""When a member rejects a model, and when the members together do."""

import math

import numpy as np
import pytest

from securefl.config.vote import VoteSettings
from securefl.federation.scores.ballots import counted, vote_of
from securefl.federation.scores.judgement import (
    ABSTAIN,
    ACCEPT,
    DEPARTMENT,
    EXPOSURE,
    WORSE,
    Judge,
)
from securefl.ml.metrics.sums import Ratio
from securefl.tasks.base import Judged

STRICT = VoteSettings(worse=0.05, exposure=0.5, chance=0.5)
JUDGE = Judge(STRICT, higher_is_better=True)
"""With 100 cases, a tenth of the metric may be lost, and a product gain 55 % of the lists."""


def seen(value=0.5, cases=100, department=0.5, listed=(10, 10, 10)):
    parts = {"all": Ratio(value * cases, cases), "department 0": Ratio(department * 40, 40)}
    return Judged(parts, np.array(listed), cases)


def test_what_stays_as_it_is_gets_accepted():
    assert JUDGE.ballot(seen(), seen()) == ACCEPT
    assert JUDGE.ballot(seen(0.9, department=0.9), seen()) == ACCEPT


@pytest.mark.parametrize(("value", "ballot"), [(0.46, ACCEPT), (0.44, WORSE), (math.nan, WORSE)])
def test_a_loss_beyond_the_agreed_is_worse(value, ballot):
    assert JUDGE.ballot(seen(value), seen()) == ballot


def test_an_error_that_grows_is_worse():
    assert Judge(STRICT, higher_is_better=False).ballot(seen(0.6), seen(0.5)) == WORSE
    assert Judge(STRICT, higher_is_better=False).ballot(seen(0.4), seen(0.5)) == ACCEPT


def test_few_cases_leave_room_for_chance():
    """A member of 25 cases may lose 15 %, one of 10,000 only 5.5 %."""
    assert JUDGE.ballot(seen(0.44, cases=25), seen(0.5, cases=25)) == ACCEPT
    assert JUDGE.ballot(seen(0.47, cases=10_000), seen(0.5, cases=10_000)) == WORSE


@pytest.mark.parametrize(("listed", "ballot"), [((64, 10, 10), ACCEPT), ((70, 10, 10), EXPOSURE)])
def test_a_product_that_floods_the_lists_is_seen(listed, ballot):
    assert JUDGE.ballot(seen(listed=listed), seen()) == ballot
    assert JUDGE.ballot(seen(), seen(listed=listed)) == ballot  # or vanishes from them


def test_a_spoiled_department_is_seen():
    assert JUDGE.ballot(seen(department=0.4), seen()) == ACCEPT
    assert JUDGE.ballot(seen(department=0.3), seen()) == DEPARTMENT


def test_a_member_without_cases_abstains():
    assert JUDGE.ballot(seen(0.1), seen(cases=19)) == ABSTAIN
    assert JUDGE.ballot(seen(0.1), seen(math.nan)) == ABSTAIN


def test_a_task_without_lists_is_judged_by_its_metric():
    plain = Judged({"all": Ratio(50.0, 100.0)})
    assert JUDGE.ballot(plain, plain) == ACCEPT
    assert JUDGE.ballot(Judged({"all": Ratio(30.0, 100.0)}), plain) == WORSE


@pytest.mark.parametrize(
    ("said", "rejected"),
    [
        ([WORSE, EXPOSURE, DEPARTMENT, ACCEPT, ACCEPT], True),
        ([WORSE, WORSE, ACCEPT, ACCEPT, ACCEPT], False),
        ([WORSE, WORSE, ACCEPT, ABSTAIN, ABSTAIN], True),
        ([WORSE, ABSTAIN, ABSTAIN, ABSTAIN, ABSTAIN], False),
        ([ABSTAIN] * 5, False),
    ],
)
def test_the_quorum_is_of_those_who_voted(said, rejected):
    """And no member rejects alone: the smallest of five cannot stop the others."""
    ballots = {f"member {n}": ballot for n, ballot in enumerate(said)}
    vote = vote_of(STRICT, ballots, {})
    assert vote.rejected is rejected
    assert sum(counted(ballots).values()) == 5
    assert all(ballot in vote.reasons for ballot in said)
