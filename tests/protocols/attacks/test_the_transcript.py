"""A transcript that says another sum than the round had, and an auditor that recomputes it."""

from dataclasses import replace

import numpy as np
import pytest

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.session import client_round, server_round
from securefl_protocols.session.checksum import MODULUS, checksum_from_bytes, checksum_to_bytes
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.codec import encode_coordinator
from securefl_protocols.wire.messages import Signatures
from securefl_protocols.wire.signed_statements import consistency_of, signed_message
from securefl_protocols.wire.transcript import Transcript
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    changed,
    input_digest,
    inputs,
    only,
    small_plan,
    told,
)

VICTIM, COLLUDER = 2, 4


def transcript_of(drops=None, plan=None):
    plan = plan or small_plan(5)
    consortium = Consortium(plan)
    exchange = Exchange.of(consortium)
    exchange.run(inputs(plan), drops)
    known = {
        "plan": plan,
        "roster": consortium.roster,
        "context": consortium.context,
        "model": MODEL,
    }
    return exchange.server.transcript(), known


@pytest.mark.parametrize("ring", [r for r in RingDtype if r != RingDtype.UINT32])
def test_transcript_in_other_lanes_does_not_replay(ring):
    """What was agreed decides the lanes: a sum in others has other contexts and signatures."""
    plan = small_plan(5, ring=ring, largest_input=6000)
    transcript, known = transcript_of(plan=plan)
    assert replay(transcript, **known).total.dtype == ring.dtype
    agreed = replace(plan, ring=RingDtype.UINT32)
    context = replace(known["context"], plan=agreed.digest())
    with pytest.raises(RemoteProtocolError):
        replay(transcript, **(known | {"plan": agreed, "context": context}))


def with_message(transcript, step, member, message):
    messages = [dict(part) for part in transcript.messages]
    messages[step][member] = message
    return replace(transcript, messages=tuple(messages))


@pytest.mark.parametrize("step", range(5))
def test_forged_transcript_with_one_byte_changed(step):
    transcript, known = transcript_of()
    message = transcript.messages[step][1]
    forged = with_message(transcript, step, 1, message[:-1] + bytes([message[-1] ^ 1]))
    with pytest.raises(RemoteProtocolError):
        replay(forged, **known)
    assert forged.digest() != transcript.digest()


def test_forged_transcript_of_another_model_or_cohort():
    transcript, known = transcript_of()
    with pytest.raises(RemoteProtocolError, match="another model"):
        replay(transcript, **(known | {"model": bytes(32)}))
    forged = replace(transcript, round=(1, bytes(32)))
    with pytest.raises(RemoteProtocolError):
        replay(forged, **(known | {"model": bytes(32)}))
    fewer = [dict(part) for part in transcript.messages]
    del fewer[2][3]
    with pytest.raises(RemoteProtocolError):
        replay(replace(transcript, messages=tuple(fewer)), **known)


def test_forged_transcript_by_moving_messages():
    transcript, known = transcript_of()
    swapped_steps = (transcript.messages[0], *reversed(transcript.messages[1:]))
    with pytest.raises(RemoteProtocolError):
        replay(replace(transcript, messages=swapped_steps), **known)
    moved = with_message(transcript, 2, 1, transcript.messages[2][3])
    with pytest.raises(RemoteProtocolError):
        replay(moved, **known)
    nobody = with_message(transcript, 2, 77, transcript.messages[2][3])
    with pytest.raises(RemoteProtocolError):
        replay(nobody, **known)


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\x93\x01\x02\x03", b"\x93" + b"\x92\x01\xc4\x00" * 2 + b"\x90"]
)
def test_bytes_that_are_no_transcript(data):
    with pytest.raises(RemoteProtocolError, match="no transcript"):
        Transcript.from_bytes(data)


def test_transcript_of_a_round_with_dropouts_at_every_step():
    for step in (s for s in ServerStep if s < ServerStep.IDLE and s is not ServerStep.REVEAL):
        transcript, known = transcript_of({step: [4]})
        assert replay(transcript, **known).survivors[:4] == (0, 1, 2, 3)


def resigned(exchange, consortium, target):
    """The colluder's masked input once more, so that everything adds up to a sum of its choice."""
    member = exchange.clients[COLLUDER]
    round_, total = member._round, exchange.server.result().total
    sent = body_of(exchange.server.transcript().messages[2][COLLUDER])
    weighted = round_._checksum_key._weighted
    tag = (checksum_from_bytes(sent.tag) + weighted(target) - weighted(total)) % MODULUS
    vector = np.frombuffer(sent.vector, dtype=target.dtype) + target - total
    return signed_message(
        replace(sent, tag=checksum_to_bytes(tag), vector=vector.tobytes()),
        context=consortium.context.of_round(1, MODEL),
        sender=COLLUDER,
        session_key=member._keystore.encryption.public,
        identity=consortium.identities[COLLUDER],
    )


def forged_with_an_input_chosen_after_the_sum():
    plan = small_plan(5)
    consortium = Consortium(plan)
    exchange = Exchange.of(consortium)
    exchange.run(inputs(plan))
    target = np.full(plan.dimension, 424242, dtype=plan.ring.dtype)
    chosen = resigned(exchange, consortium, target)
    forged = with_message(exchange.server.transcript(), 2, COLLUDER, chosen)
    known = {"plan": plan, "roster": consortium.roster, "context": consortium.context}
    return forged, known | {"model": MODEL}, target, exchange, consortium


def test_input_chosen_after_the_sum_replays_where_signatures_say_only_who_survived(monkeypatch):
    # Control: signatures over the set of survivors, whatever their masked inputs were.
    for module in (client_round, server_round):
        monkeypatch.setattr(module, "consistency_of", consistency_without_inputs)
    forged, known, target, _, _ = forged_with_an_input_chosen_after_the_sum()
    assert np.array_equal(replay(forged, **known).total, target)


def consistency_without_inputs(number, survivors, *, members):
    nothing = dict.fromkeys(survivors, bytes(32))
    return consistency_of(number, nothing, members=members)


def test_input_chosen_after_the_sum_has_no_signatures():
    forged, known, _, exchange, consortium = forged_with_an_input_chosen_after_the_sum()
    with pytest.raises(RemoteProtocolError, match="other survivors or inputs were signed"):
        replay(forged, **known)
    # Nor do the colluder's own signature and those of all others make a transcript together.
    digests = {i: input_digest(m) for i, m in forged.messages[2].items()}
    own = signed_message(
        consistency_of(1, digests, members=5),
        context=consortium.context.of_round(1, MODEL),
        sender=COLLUDER,
        session_key=exchange.clients[COLLUDER]._keystore.encryption.public,
        identity=consortium.identities[COLLUDER],
    )
    with pytest.raises(RemoteProtocolError):
        replay(with_message(forged, 3, COLLUDER, own), **known)
    alone = [dict(part) for part in forged.messages]
    alone[3] = {COLLUDER: own}
    with pytest.raises(RemoteProtocolError, match="threshold"):
        replay(replace(forged, messages=tuple(alone)), **known)


def test_masked_input_that_is_not_ours_is_not_signed():
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    exchange.begin(inputs(plan))
    exchange.step()
    exchange.tamper = only(
        VICTIM,
        lambda m: changed(m, survivors=dict(told(m).survivors) | {VICTIM: bytes(32)}),
    )
    with pytest.raises(RemoteProtocolError, match="our masked input was changed"):
        exchange.step()


def test_two_tables_of_masked_inputs_get_no_shares():
    # The coordinator keeps a second input of the colluder ready and shows it to two members.
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    exchange.begin(inputs(plan))
    exchange.step()

    def other_input(message):
        return changed(message, survivors=dict(told(message).survivors) | {COLLUDER: bytes(32)})

    exchange.tamper = lambda i, m: other_input(m) if i in (0, 1) else m
    exchange.step()
    sent = {i: m[6:70] for i, m in exchange.outbox.items()}
    for index in range(5):
        signatures = encode_coordinator(Signatures(1, sent))
        with pytest.raises(RemoteProtocolError, match="signature"):
            exchange.clients[index].receive(signatures)


@pytest.mark.parametrize("member", [-1, 1 << 32])
def test_transcript_of_a_member_that_cannot_be(member):
    transcript, _ = transcript_of()
    with pytest.raises(RemoteProtocolError, match="no transcript"):
        Transcript.from_bytes(with_message(transcript, 2, member, b"").to_bytes())
