"""No model reaches a member but the agreed start, and what follows from sums that were verified.

The coordinator of these tests hands out models of its own making, in each message that carries one.
"""

from dataclasses import fields, replace
from typing import get_args

import msgpack
import numpy as np
import pytest

from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import (
    ModelProof,
    RoundEnd,
    moments_digest,
    proved_end,
    read_proof,
)
from securefl.federation.aggregation.secure import RoundFailedError
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.member.answers import ANSWERS, Model, Protection
from securefl.federation.member.model_verifier import ModelVerifier, UnverifiedModelError
from securefl.ml.vectors import model_digest
from securefl_protocols.wire.messages import RoundSum
from support.masked_federation import MaskedFederation
from support.rehearsal import trained

VICTIM = "retailer-4"
CARRYING = [kind for kind in get_args(m.AnyMessage) if "shared" in kind.model_fields]
"""Every message with a model in it; a new one is in the tests as soon as it can be decoded."""


@pytest.fixture
def federation(tmp_path):
    made = MaskedFederation(tmp_path)
    yield made
    for member in made.wire.members.values():
        member.close()


def withheld(federation):
    """The victim helps to unmask, and is not shown the sum."""

    def down(name, told):
        shows = isinstance(told, m.Protocol) and told.payload[1] == RoundSum.CODE
        return None if name == VICTIM and shows else told

    federation.wire.down = down
    federation.round(1)
    federation.wire.down = lambda name, told: told
    return federation


def crafted(number):
    return np.full(number, 0.123, dtype=np.float32)


def refusals(federation, number, shared, **fields):
    """What each member says that is handed a model for a round, by class of error."""
    asked = federation.request(2, 40 + number).model_copy(
        update={"round": number, "shared": m.pack_vector(shared), **fields}
    )
    return {getattr(federation.ask(name, asked), "error", "") for name in federation.names}


def test_skipped_round_hides_no_crafted_model(federation):
    """Skip_round: called round 3 after a verified round 1, a crafted model was taken by all."""
    federation.round(1)
    for number in (2, 3):
        assert refusals(federation, number, crafted(20)) == {"UnverifiedModelError"}
        federation.models[number] = crafted(20)
        with pytest.raises(RoundFailedError):
            federation.round(number)


def test_skipped_round_needs_signatures_even_if_true(federation):
    """The model that follows from round 1 begins round 2, and no other round."""
    federation.round(1)
    assert refusals(federation, 3, federation.models[2]) == {"UnverifiedModelError"}
    proof = federation.proofs[1].handed_out(federation.consortium)
    assert refusals(federation, 3, federation.models[2], proof=proof) == {"UnverifiedModelError"}
    assert refusals(federation, 2, federation.models[2]) == {""}


def test_member_that_missed_a_sum_takes_no_other_model(federation):
    """It accepted any, having nothing to compare with; now it has t members' signatures."""
    withheld(federation)
    consortium, proof = federation.consortium, federation.proofs[1]
    right = proof.handed_out(consortium)
    few = proof.only(list(proof.signatures)[:3])
    true = federation.request(2, 50)
    false = true.model_copy(update={"shared": m.pack_vector(crafted(20))})
    for asked, given in ((false, b""), (false, right), (true, b""), (true, few)):
        answer = federation.ask(VICTIM, asked.model_copy(update={"proof": given}))
        assert answer.error == "UnverifiedModelError"
        assert "was not shown to this member, and fewer than 4 members signed" in answer.text
    assert federation.round(2).survivors == federation.names
    assert set(federation.proofs[2].signatures) == set(federation.names)


def test_proof_control_the_true_one_is_enough(federation):
    """What the coordinator hands over is what the member asks for; it goes on from there."""
    withheld(federation)
    proof = federation.proofs[1].handed_out(federation.consortium)
    answer = federation.ask(VICTIM, federation.request(2, 50).model_copy(update={"proof": proof}))
    assert isinstance(answer, m.Protocol)
    verifier = federation.wire.members[VICTIM].masked.verifier
    assert verifier.derived(1) == model_digest(federation.models[2])
    assert verifier.verified_end(1) is None


def test_own_sum_is_stronger_than_signatures(federation):
    """Colluding members cannot talk a member out of what it computed."""
    federation.round(1)
    proof = forged_by(federation, federation.names, model=model_digest(crafted(20)))
    answer = federation.ask(
        VICTIM,
        federation.request(2, 50).model_copy(
            update={"shared": m.pack_vector(crafted(20)), "proof": proof}
        ),
    )
    assert "does not follow from the last sum" in answer.text


def forged_by(federation, names, **changes):
    """A proof that these members sign, of an end with some fields changed."""
    end = replace(federation.proofs[1].end, **changes)
    signed = {n: end.signed(federation.consortium, federation.keys[n]) for n in names}
    return ModelProof(end, signed).only(names)


OTHER = {
    "round": 2,
    "survivors": ("retailer-0", "retailer-1", "retailer-2", "retailer-3"),
    "model": b"\1" * 32,
    "moments": b"\2" * 32,
}


@pytest.mark.parametrize("field", [field.name for field in fields(RoundEnd)])
def test_signature_is_for_one_end(federation, field):
    """Changed in any field, an end has none of the signatures; nor has that of another run."""
    federation.round(1)
    proof, consortium = federation.proofs[1], federation.consortium
    end = replace(proof.end, **{field: OTHER[field]})
    assert len(ModelProof.of(consortium, proof.end, proof.signatures).signatures) == 5
    assert not ModelProof.of(consortium, end, proof.signatures).signatures
    elsewhere = replace(consortium, run_id=b"\7" * 32)
    assert not ModelProof.of(elsewhere, proof.end, proof.signatures).signatures


def test_too_few_signers_prove_nothing(federation):
    """One signer under many names, signers outside of the sum, sums that cannot be."""
    federation.round(1)
    consortium, end = federation.consortium, federation.proofs[1].end
    own = end.signed(consortium, federation.keys["retailer-0"])

    def proved(survivors, signatures, number=1):
        claimed = ModelProof(replace(end, survivors=survivors), signatures)
        data = msgpack.packb([survivors, end.moments, dict(signatures)])
        return proved_end(consortium, number, claimed.end.model, data)

    everybody = federation.names
    valid = federation.proofs[1].signatures
    assert proved(everybody, valid) == end
    assert proved(everybody, dict.fromkeys(everybody, own)) is None
    assert proved(everybody, valid | {"stranger": own}) is None
    assert proved(everybody, dict(list(valid.items())[:3])) is None
    for number in (0, 2, 4, 1 << 63, (1 << 64) - 1):
        assert proved(everybody, valid, number) is None
    for survivors in ((), everybody[:3], everybody[::-1], (*everybody, "stranger")):
        signed = replace(end, survivors=survivors)
        colluding = {n: signed.signed(consortium, federation.keys[n]) for n in everybody}
        assert proved(survivors, colluding) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 40,
        msgpack.packb([]),
        msgpack.packb([["a"], b"\0" * 32, {"a": b"short"}]),
        msgpack.packb([["a"], b"\0" * 31, {}]),
        msgpack.packb([[1], b"\0" * 32, {}]),
        msgpack.packb([["a"], "text", {}]),
        msgpack.packb([["a"], b"\0" * 32, {1: b"\0" * 64}]),
        msgpack.packb([{"a": 1}, b"\0" * 32, []]),
    ],
)
def test_malformed_proof_is_a_malformed_message(federation, data):
    with pytest.raises(m.MessageError, match="malformed proof"):
        read_proof(1, bytes(32), data)
    asked = federation.request(1, 5).model_copy(update={"round": 2, "proof": data})
    assert federation.ask(VICTIM, asked).error == "MessageError"


@pytest.mark.parametrize("optimizer", ["fedavgm", "fedadam"])
def test_moments_come_with_the_proof(tmp_path, optimizer):
    """A member that missed a sum computes the next model only with the moments that t signed."""
    made = MaskedFederation(tmp_path, server={"optimizer": optimizer})
    consortium, names = made.consortium, made.names
    start, change = np.zeros(3, np.float32), np.arange(3.0)
    present, absent = (ModelVerifier(consortium, lambda: model_digest(start)) for _ in range(2))
    end = present.follow(names, trained(1, start), change)
    signed = {name: end.signed(consortium, made.keys[name]) for name in names}
    proof = ModelProof.of(consortium, end, signed).handed_out(consortium)
    server = ServerOptimizer(consortium.config.server, 3)
    shared = server.apply(start, change)
    assert moments_digest(server.pack()) == end.moments
    for moments in (b"", bytes(len(server.pack())), server.pack()[:-8], b"\0" * 7):
        with pytest.raises(UnverifiedModelError, match="not the moments"):
            absent.begin(2, shared, proof, moments)
    absent.begin(2, shared, proof, server.pack())
    following = [v.follow(names, trained(2, shared), 2 * change) for v in (present, absent)]
    assert following[0] == following[1]
    assert present.following() == absent.following()
    again = ModelVerifier(consortium, lambda: b"")
    again.restore(msgpack.unpackb(msgpack.packb(absent.state())))
    assert again.verified_end(2) == following[0]


def test_table_says_which_model_each_message_may_carry():
    """A new message with a model has no row, and so no answer, until its row says which model."""
    for rule in ANSWERS:
        if rule.question in CARRYING:
            assert rule.model is not Model.NONE, rule
        if rule.model in {Model.VERIFIED, Model.CONCLUDED} and rule.question in CARRYING:
            masked = rule.protections & {Protection.MASKED, Protection.MASKED_BUDGET}
            assert not masked or "proof" in rule.question.model_fields, rule
    answered = {rule.question for rule in ANSWERS}
    assert {kind.__name__ for kind in CARRYING if kind not in answered} == {
        "ObserveModel",
        "ObserveLocalOnly",
    }
