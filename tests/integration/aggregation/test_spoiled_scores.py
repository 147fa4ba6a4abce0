"""Under masks one member can spoil the sum of scores; it must not end or decide the others' run."""

import math
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from securefl.errors import InputError, SecureflError
from securefl.federation.coordinator import rounds
from securefl.federation.coordinator.fault_tolerant import FaultTolerantExchange
from securefl.federation.coordinator.rounds import RoundState
from securefl.federation.coordinator.scores import RoundScores
from securefl.federation.transport.base import DeadlineExceeded
from securefl.federation.transport.exchange import Exchange, MemberFailedError, MemberInputError
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums, Ratio

RMSE = MetricSpec("rmse", higher_is_better=False, root=True)


def federation_of(scores, exchange=FaultTolerantExchange, mode="secure"):
    """A coordinator's view of a run whose validation scores are given, round by round."""
    given = iter(scores)
    exchange = exchange(MagicMock())
    exchange.ask_all = lambda members, message, kind: {}
    privacy = SimpleNamespace(dp="none", unit="customer")
    return SimpleNamespace(
        config=SimpleNamespace(mode=mode, privacy=privacy, rounds=9),
        members=("a", "b", "c"),
        exchange=exchange,
        decisive=RMSE,
        scores=SimpleNamespace(validation=lambda *_, **__: RoundScores(next(given))),
    )


def best_of(scores, **kind):
    """The round that is kept after so many, and its value."""
    federation, start = federation_of(scores, **kind), np.zeros(2, np.float32)
    state = RoundState(0, start, None, 0, math.nan, start)
    for number in range(1, len(scores) + 1):
        state.round = number
        found = rounds._validated(federation, state)
        rounds._keep_if_best(federation, state, found.metrics)
    return state.best_round, state.best_value


@pytest.fixture(autouse=True)
def no_budget(monkeypatch):
    monkeypatch.setattr(rounds, "mechanism_for", lambda _: SimpleNamespace(private=False))


def test_spoiled_first_scores_do_not_choose_round_one():
    """Nothing was less than what is not a number, so the first round was the result."""
    assert best_of([{}, {"rmse": 2.0}, {"rmse": 1.0}, {"rmse": 3.0}]) == (3, 1.0)
    assert best_of([{"rmse": 2.0}, {}, {"rmse": 1.0}, {}]) == (3, 1.0)


def test_newest_round_is_kept_while_none_is_judged():
    kept, value = best_of([{}, {}, {}])
    assert kept == 3
    assert math.isnan(value)


def test_score_that_is_no_number_ends_no_network():
    """One member's limbs made it so, and it is not known whose: there are no scores this round."""
    nothing = {"rmse": math.nan}
    assert best_of([nothing, {"rmse": 2.0}, nothing]) == (2, 2.0)
    for kind in ({"exchange": Exchange}, {"mode": "plain"}):
        with pytest.raises(InputError, match="rmse is not a number"):
            best_of([nothing], **kind)


def test_root_of_less_than_nothing_is_no_number():
    """A sum of squares that a member made negative: the coordinator died of it."""
    for numerator in (-1.0, -(2.0**79)):
        assert math.isnan(MetricSums({"rmse": Ratio(numerator, 4.0, root=True)}).values()["rmse"])
    assert Ratio(-4.0, -1.0, root=True).value == 2.0


@pytest.mark.parametrize("error", [MemberFailedError("x"), DeadlineExceeded("x")])
def test_failure_behind_the_sum_is_no_other_round(error):
    """The state had the round already: tried again, it was the round behind it."""
    with pytest.raises(SecureflError, match="round 4 has a sum") as raised, rounds._for_good(4):
        raise error
    assert not isinstance(raised.value, type(error))
    with pytest.raises(MemberInputError), rounds._for_good(4):
        raise MemberInputError("x")
