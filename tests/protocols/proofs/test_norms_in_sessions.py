"""Sessions in which every member proves the norm of its input; each attack by name."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    PlanError,
    RangeError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.proofs.norm_proof import NormProof, prove
from securefl_protocols.proofs.norm_terms import NormTerms
from securefl_protocols.session.dropouts import DropoutReason, ServerStep
from securefl_protocols.session.norms import RoundNorms
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.signed_statements import signed_message
from support.session_driver import MODEL, Consortium, Exchange, body_of, changed, only, small_plan

pytest.importorskip("rbcl")
pytestmark = pytest.mark.slow

COORDINATES, SCALE, WEIGHT = 30, 64.0, 10
HOSTILE = 1
TERMS = NormTerms.of(1.0, coordinates=COORDINATES, scale=SCALE, error=0.5, weight=(1, 7, 100))


def a_plan(**changes):
    plan = {"dimension": COORDINATES + 3, "norm": TERMS, "rounds": 4} | changes
    return small_plan(4, **plan)


def an_input(seed, length=1.0, weight=WEIGHT):
    """Of an update of that length: the weighted coordinates, two digits of a loss, the weight."""
    drawn = np.random.default_rng(seed).normal(size=COORDINATES)
    scaled = np.rint(drawn / np.linalg.norm(drawn) * length * weight * SCALE)
    return np.array([*scaled, 5, 6, weight]).astype("<i4").view("<u4")


def inputs_of(plan, **of_hostile):
    others = [an_input(seed) for seed in range(plan.members)]
    others[HOSTILE] = an_input(HOSTILE, **of_hostile)
    return others


@pytest.fixture
def consortium():
    return Consortium(a_plan())


def begun(consortium, vectors):
    exchange = Exchange.of(consortium)
    exchange.advertise()
    exchange.begin(vectors)
    exchange.step()
    return exchange


def honest(monkeypatch, **patched):
    """Lets one party lie: names of `RoundNorms` to what takes their place."""
    for name, change in patched.items():
        monkeypatch.setattr(RoundNorms, name, change)


def test_honest_norms_are_accepted(consortium):
    """All prove, all verify, one drops out, and the sum is right and replays."""
    vectors = inputs_of(consortium.plan)
    exchange = Exchange.of(consortium)
    result = exchange.run(vectors, {ServerStep.MASK: [3]})
    assert result.survivors == (0, 1, 2)
    assert (result.total == sum(vectors[:3])).all()
    assert all(one.verified for one in exchange.results.values())
    replayed = replay(
        exchange.server.transcript(),
        plan=consortium.plan,
        roster=consortium.roster,
        context=consortium.context,
        model=MODEL,
    )
    assert (replayed.total == result.total).all()
