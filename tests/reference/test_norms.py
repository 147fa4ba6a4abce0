"""The second implementation verifies the norm proofs of the first, and its sum."""

from dataclasses import astuple

import pytest

from securefl_protocols.primitives.kdf import index_bytes
from securefl_protocols.proofs.norm_terms import NormTerms
from support.session_driver import MODEL, Consortium, Exchange, body_of, small_plan, told

pytest.importorskip("rbcl")
pytestmark = pytest.mark.slow

import numpy as np  # noqa: E402

from reference.norms import Norm, commit, digest, total  # noqa: E402

TERMS = NormTerms.of(1.0, coordinates=9, scale=64.0, error=0.5, weight=(2, 4, 100))


@pytest.fixture(scope="module")
def told_and_sent():
    """A round: the members' proven messages, what they were told last, and their sum."""
    consortium = Consortium(small_plan(3, dimension=12, norm=TERMS))
    exchange = Exchange.of(consortium)
    exchange.advertise()
    drawn = np.random.default_rng(1).integers(-100, 100, (3, 9))
    rows = [np.array([*row, 0, 50 % 16, 50 // 16]).astype("<i4").view("<u4") for row in drawn]
    exchange.begin(rows)
    for _ in range(2):
        exchange.step()
    sent = {member: body_of(message) for member, message in exchange.outbox.items()}
    exchange.step()
    shown = told(next(iter(exchange.step().values())))
    return consortium, sent, shown


def test_proofs_hold_for_both_implementations(told_and_sent):
    """And of another member, or with another byte, for neither."""
    consortium, sent, _ = told_and_sent
    norm, context = Norm(astuple(TERMS)), consortium.context.of_round(1, MODEL)
    for member, message in sent.items():
        assert norm.holds(context, member, message.inputs, message.proof)
    assert not norm.holds(context, 1, sent[0].inputs, sent[0].proof)
    changed = bytearray(sent[0].proof)
    changed[-1] ^= 1
    assert not norm.holds(context, 0, sent[0].inputs, bytes(changed))


def test_commitments_add_up_to_the_sum(told_and_sent):
    """With the blinding that was announced (M66)."""
    consortium, sent, shown = told_and_sent
    norm, context = Norm(astuple(TERMS)), consortium.context.of_round(1, MODEL)
    vector = np.frombuffer(shown.total, "<i4").tolist()
    values = norm.values(context, sent[0].inputs, vector)
    committed = total([message.proof[:32] for message in sent.values()])
    blinding = int.from_bytes(shown.blinding, "little")
    assert committed == commit(1, values, blinding)
    assert committed != commit(1, [values[0] + 1, *values[1:]], blinding)


def test_digest_of_a_plan_with_norms():
    """The seven numbers stand behind the terms."""
    plan = small_plan(3, dimension=12, norm=TERMS)
    numbers = (
        *(plan.members, plan.threshold, plan.degree, plan.dimension, plan.ring.value),
        *(plan.largest_input, plan.rounds, plan.min_members, plan.layers),
    )
    fields = [number.to_bytes(8, "big") for number in numbers]
    norm = [number.to_bytes(16, "big") for number in astuple(TERMS)]
    assert plan.digest() == digest(b"securefl/2/plan", *fields, b"", plan.terms, *norm)
    assert index_bytes(1) == bytes((0, 0, 0, 1))
