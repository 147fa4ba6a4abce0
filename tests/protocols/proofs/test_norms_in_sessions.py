"""Sessions in which every member proves the norm of its input; each attack by name."""

import contextlib
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
from securefl_protocols.session.replay import replay
from securefl_protocols.session.server_round import ServerRound
from support.long_updates import claim, forced, have_lie
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    changed,
    only,
    small_plan,
    told,
)

pytest.importorskip("rbcl")

COORDINATES, SCALE, WEIGHT = 30, 64.0, 10
HOSTILE = 1
HONEST_CHECK = ServerRound._check_norms
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


def test_norms_of_three_are_accepted():
    """The shortest whole session: all prove, all verify, and the sum is right."""
    plan = small_plan(3, dimension=COORDINATES + 3, norm=TERMS)
    vectors, exchange = inputs_of(plan), Exchange.of(Consortium(plan))
    assert (exchange.run(vectors).total == sum(vectors)).all()
    assert [one.verified for one in exchange.results.values()] == [True] * 3


@pytest.mark.slow
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


@pytest.mark.slow
def test_same_sum_without_proofs(consortium):
    """Proofs change no sum, and another plan has another context."""
    vectors = inputs_of(consortium.plan)
    bare = Consortium(a_plan(norm=None))
    assert bare.plan.digest() != consortium.plan.digest()
    total = Exchange.of(bare).run(vectors).total
    assert (Exchange.of(consortium).run(vectors).total == total).all()


def test_ten_times_too_long_cannot_be_proved(consortium):
    """An honest program with such an update stops, and sends nothing."""
    exchange = begun(consortium, inputs_of(consortium.plan, length=10.0))
    with pytest.raises(RangeError, match="norm of the update"):
        exchange.step()


def refused(exchange):
    """Who was left out while norms were proved, and why."""
    step = ServerStep.CONSISTENCY
    return [(one.member, one.reason) for one in exchange.server.dropouts if one.step is step]


def test_ten_times_too_long_is_named(consortium, monkeypatch):
    """It is banned, there is no sum, and no member gave a share away."""
    exchange = begun(consortium, inputs_of(consortium.plan, length=10.0))
    have_lie(monkeypatch, HOSTILE, forced)
    exchange.step()
    with pytest.raises(TooFewSurvivors, match=f"members {HOSTILE} are not proved"):
        exchange.step()
    assert refused(exchange) == [(HOSTILE, DropoutReason.BAD_NORM)]
    assert HOSTILE in exchange.server.banned
    assert not exchange.results


@pytest.mark.slow
@pytest.mark.parametrize("weight", [-WEIGHT, 101], ids=["negative", "too large"])
def test_weight_outside_the_agreed_is_named(consortium, monkeypatch, weight):
    """A negative weight would make the mean as long as one likes."""
    vectors = inputs_of(consortium.plan)
    vectors[HOSTILE] = vectors[HOSTILE].copy()
    vectors[HOSTILE][-1] = np.int32(weight).view("<u4")
    exchange = begun(consortium, vectors)
    have_lie(monkeypatch, HOSTILE, forced)
    exchange.step()
    with pytest.raises(TooFewSurvivors):
        exchange.step()
    assert refused(exchange) == [(HOSTILE, DropoutReason.BAD_NORM)]


@pytest.mark.slow
def test_silence_instead_of_a_proof_is_no_sum(consortium):
    """Its input would be in the sum; who fell silent is named."""
    exchange = begun(consortium, inputs_of(consortium.plan))
    exchange.step()
    with pytest.raises(TooFewSurvivors, match="members 2 are not proved"):
        exchange.step(silent=[2])


@pytest.mark.slow
def test_commitments_to_another_vector(consortium, monkeypatch):
    """Who proves a short vector and masks a long one ends the round, and is not named."""
    exchange = begun(consortium, inputs_of(consortium.plan, length=10.0))
    have_lie(monkeypatch, HOSTILE, claim([0] * 256 + [WEIGHT]))
    exchange.step()
    exchange.step()
    with pytest.raises(RemoteProtocolError, match="not that of the inputs") as failed:
        exchange.step()
    assert failed.value.peer is None


def test_members_reject_commitments_to_another_vector(consortium, monkeypatch):
    """They need no coordinator for it: one that shows the sum nevertheless convinces none."""
    exchange, honest = begun(consortium, inputs_of(consortium.plan, length=10.0)), HONEST_CHECK
    have_lie(monkeypatch, HOSTILE, claim([0] * 256 + [WEIGHT]))
    exchange.step()
    exchange.step()

    def shown(current, total, keys):
        with contextlib.suppress(RemoteProtocolError):
            honest(current, total, keys)

    monkeypatch.setattr(ServerRound, "_check_norms", shown)
    with pytest.raises(ChecksumFailed, match="norms were proved"):
        exchange.step()


@pytest.mark.slow
def test_two_cannot_share_one_long_vector(consortium, monkeypatch):
    """Of two that collude, commitments that add up to their sum have a long one among them."""
    values = [1 << 30] * 256 + [WEIGHT]
    terms = consortium.plan.norm
    with pytest.raises(RangeError):
        prove(terms, bytes(32), values, 1, bytes(32))
    # Numbers that are short only modulo the order: checks show that they are no short integers.
    half = (1 << 251) + 5
    with pytest.raises(RangeError):
        prove(terms, bytes(32), [half] * 256 + [WEIGHT], 1, bytes(32))


@pytest.mark.slow
def test_sum_with_another_blinding_is_rejected(consortium):
    """The coordinator cannot announce another blinding."""
    exchange = Exchange.of(consortium)
    exchange.tamper = lambda index, data: (
        changed(data, blinding=(7).to_bytes(32, "little")) if data[1] == 75 else data
    )
    with pytest.raises(ChecksumFailed):
        exchange.run(inputs_of(consortium.plan))


@pytest.mark.slow
@pytest.mark.parametrize("field", ["proof", "missing", "swapped"])
def test_coordinator_that_changes_proofs(consortium, field):
    """A member takes proofs as their members signed them, of all survivors, or stops."""
    size = TERMS.proof_bytes

    def change(data):
        if data[1] != 74:
            return data
        return changed_proofs(data, field, size)

    exchange = begun(consortium, inputs_of(consortium.plan))
    exchange.tamper = only(0, change)
    exchange.step()
    with pytest.raises(RemoteProtocolError):
        exchange.step()
    assert 0 not in exchange.outbox


def changed_proofs(data, field, size):
    message = told(data)
    proofs, signatures = message.proofs, dict(message.signatures)
    if field == "proof":
        proofs = proofs[:-1] + bytes([proofs[-1] ^ 1])
    elif field == "missing":
        proofs, signatures = proofs[size:], {i: signatures[i] for i in sorted(signatures)[1:]}
    else:
        proofs = proofs[size : 2 * size] + proofs[:size] + proofs[2 * size :]
    return changed(data, proofs=proofs, signatures=signatures)


@pytest.fixture(scope="module")
def signed():
    """The messages of a round up to the proofs: the exchange, and each member's message."""
    consortium = Consortium(a_plan())
    exchange = begun(consortium, inputs_of(consortium.plan))
    exchange.step()
    return consortium, exchange, dict(exchange.outbox)


@pytest.mark.slow
def test_replayed_proofs_are_refused(signed):
    """Of another member, another round and another run: none holds."""
    _, exchange, outbox = signed
    norms = exchange.clients[0]._round._norms
    proofs = {member: body_of(message).proof for member, message in outbox.items()}
    norms.check(proofs)
    with pytest.raises(RemoteProtocolError) as other_member:
        norms.check({**proofs, 2: proofs[3]})
    assert other_member.value.peer == 2
    other_round = replace(norms, context=hashlib.sha256(b"round 2").digest())
    agreed = norms.consistency
    inputs = replace(norms, consistency=replace(agreed, inputs=bytes(32)))
    for changed_norms in (other_round, inputs):
        with pytest.raises(RemoteProtocolError):
            changed_norms.check({1: proofs[1]})


@pytest.mark.slow
def test_every_part_of_a_proof_is_bound(signed):
    """One changed byte in each field, at the coordinator, names its sender."""
    _, exchange, outbox = signed
    honest = body_of(outbox[3])
    size = len(honest.proof)
    checks = 6 * 32 + 128 * TERMS.check_bytes
    places = [*range(1, 192, 32), 193, checks - 15, checks + 1, size - 96, size - 64, size - 32]
    for place in places:
        proof = bytearray(honest.proof)
        proof[place] ^= 1
        current = exchange.server._current
        message = replace(honest, proof=bytes(proof))
        with pytest.raises(RemoteProtocolError) as refused:
            current.take_consistency(3, message, bytes(64))
        assert refused.value.reason is DropoutReason.BAD_NORM


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31)], ids=["neutral", "too large", "odd"]
)
def test_malformed_points_are_refused(signed, point):
    """No element, whatever else is right."""
    proof = body_of(signed[2][0]).proof
    with pytest.raises(RemoteProtocolError, match="no element"):
        NormProof.from_bytes(TERMS, point + proof[32:])


def test_plans_that_cannot_prove_norms():
    """Sparse graphs, noise layers and rings of 64 bits are refused by name."""
    with pytest.raises(PlanError, match="up to 100"):
        replace(small_plan(6, dimension=40), degree=4, threshold=3, norm=TERMS)
    with pytest.raises(PlanError, match="without noise"):
        a_plan(layered=True)
    with pytest.raises(PlanError, match="coordinates that an input has"):
        a_plan(dimension=COORDINATES)
    with pytest.raises(PlanError, match="at most 32"):
        NormTerms.of(1.0, coordinates=9, scale=2.0**40, error=0.5, weight=(1, 21, 1 << 20))


@pytest.mark.slow
def test_rings_of_24_bits():
    """The narrow ring is read as signed integers, too."""
    plan = a_plan(ring=RingDtype.UINT24, largest_input=1 << 16)
    exchange = Exchange.of(Consortium(plan))
    exchange.run(inputs_of(plan))
    assert len(exchange.results) == 4
