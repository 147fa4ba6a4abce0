"""Honest sessions: the sum is exact, whoever drops out whenever, down to the threshold."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.primitives.errors import TooFewSurvivors
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import DropoutReason, ServerStep
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.transcript import Transcript
from support.session_driver import MODEL, Consortium, Exchange, inputs, plain_sum, small_plan

STEPS = [s for s in ServerStep if s < ServerStep.IDLE and s is not ServerStep.REVEAL]
COUNTED = {ServerStep.CONSISTENCY, ServerStep.UNMASK}
"""Who drops out in these steps has its input in the sum."""


@pytest.mark.parametrize("ring", list(RingDtype))
@pytest.mark.parametrize("members", [3, 5, 12])
def test_sum_of_everybody_is_exact(members, ring):
    plan = small_plan(members, ring=ring, dimension=1000, largest_input=ring.largest // members)
    vectors = inputs(plan)
    exchange = Exchange.of(Consortium(plan))
    result = exchange.run(vectors)
    assert np.array_equal(result.total, plain_sum(vectors))
    assert result.survivors == tuple(range(members))
    assert set(exchange.results) == set(range(members))
    for own in exchange.results.values():
        assert own.verified
        assert np.array_equal(own.total, result.total)
    assert exchange.server.dropouts == []


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("step", STEPS)
def test_one_dropout_at_every_step(step, rounds):
    plan = small_plan(5, rounds=rounds)
    vectors = inputs(plan)
    exchange = Exchange.of(Consortium(plan))
    result = exchange.run(vectors, {step: [2]})
    survivors = set(range(5)) if step in COUNTED else {0, 1, 3, 4}
    assert result.survivors == tuple(sorted(survivors))
    assert np.array_equal(result.total, plain_sum(vectors[i] for i in sorted(survivors)))
    assert [(d.member, d.step, d.reason) for d in exchange.server.dropouts] == [
        (2, step, DropoutReason.SILENT)
    ]


@pytest.mark.parametrize("step", STEPS)
def test_one_below_the_threshold_gives_no_sum(step):
    exchange = Exchange.of(Consortium(small_plan(5)))
    with pytest.raises(TooFewSurvivors, match=r"threshold|plan"):
        exchange.run(inputs(small_plan(5)), {step: [1, 2]})
    assert exchange.server.step is ServerStep.CLOSED


@pytest.mark.parametrize("steps", list(itertools.combinations(STEPS, 2)))
def test_dropouts_spread_over_the_steps(steps):
    plan = small_plan(9)
    vectors = inputs(plan)
    first, second = steps
    exchange = Exchange.of(Consortium(plan))
    result = exchange.run(vectors, {first: [1], second: [7]})
    lost = {m for m, step in ((1, first), (7, second)) if step not in COUNTED}
    kept = [vectors[i] for i in range(9) if i not in lost]
    assert np.array_equal(result.total, plain_sum(kept))


@pytest.mark.parametrize("rounds", [1, 2])
def test_sparse_graph(rounds):
    plan = small_plan(120, rounds=rounds, min_members=60, colluding=0.05)
    assert not plan.complete
    vectors = inputs(plan)
    exchange = Exchange.of(Consortium(plan))
    result = exchange.run(vectors, {ServerStep.MASK: [3, 77], ServerStep.UNMASK: [5]})
    assert np.array_equal(
        result.total, plain_sum(v for i, v in enumerate(vectors) if i not in (3, 77))
    )
    assert all(result.verified for result in exchange.results.values())
    assert len(exchange.results) == 117


def test_many_rounds_of_one_session_and_a_dropout_that_comes_back():
    plan = small_plan(5, rounds=3)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    for number, absent in ((1, 0), (2, 3), (3, 4)):
        vectors = inputs(plan, seed=number)
        model = bytes([number]) * 32
        exchange.begin(vectors, number, model)
        result = exchange.finish({ServerStep.MASK: [absent]})
        kept = [v for i, v in enumerate(vectors) if i != absent]
        assert np.array_equal(result.total, plain_sum(kept))
    assert exchange.server.step is ServerStep.CLOSED
    assert exchange.clients[1].state is ClientState.READY


def test_round_that_fails_leaves_the_session_usable():
    plan = small_plan(5, rounds=2)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    exchange.begin(inputs(plan))
    with pytest.raises(TooFewSurvivors):
        exchange.finish({ServerStep.MASK: [0, 1]})
    vectors = inputs(plan, seed=2)
    exchange.begin(vectors, 2)
    assert np.array_equal(exchange.finish().total, plain_sum(vectors))


@pytest.mark.parametrize("rounds", [1, 2])
def test_transcript_replays_to_the_same_sum(rounds):
    plan = small_plan(5, rounds=rounds)
    consortium = Consortium(plan)
    exchange = Exchange.of(consortium)
    result = exchange.run(inputs(plan), {ServerStep.MASK: [2]})
    transcript = exchange.server.transcript()
    again = Transcript.from_bytes(transcript.to_bytes())
    assert again.digest() == transcript.digest()
    replayed = replay(
        again, plan=plan, roster=consortium.roster, context=consortium.context, model=MODEL
    )
    assert np.array_equal(replayed.total, result.total)
    assert replayed.survivors == result.survivors


def loose_plan():
    plan = small_plan(40, min_members=20)
    return replace(plan, degree=10, threshold=6)


@pytest.mark.parametrize("step", STEPS[1:])
def test_sparse_round_in_which_one_member_lost_its_holders_gives_no_sum(step):
    plan = loose_plan()
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    exchange.begin(inputs(plan))
    lost = exchange.server.plan.neighbours(7)[:5]
    with pytest.raises(TooFewSurvivors, match="the threshold is 6"):
        exchange.finish({step: lost})


def test_sparse_session_with_members_that_never_advertised():
    """A graph is drawn by those that answered; too many that did not end the opening."""
    plan = loose_plan()
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise(silent=[3, 30])
    vectors = inputs(plan)
    exchange.begin(vectors)
    kept = [v for i, v in enumerate(vectors) if i not in (3, 30)]
    assert np.array_equal(exchange.finish().total, plain_sum(kept))
    exchange = Exchange.of(Consortium(plan))
    with pytest.raises(TooFewSurvivors, match=r"threshold|plan"):
        exchange.advertise(silent=range(18))
    assert exchange.server.step is ServerStep.CLOSED
