"""The joint draw of a sparse graph: no party gets a second graph, or one of its own."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from securefl_protocols.primitives.errors import (
    LocalProtocolError,
    PlanError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.session import client_opening
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import DropoutReason, ServerStep
from securefl_protocols.session.graph import smallest_degree
from securefl_protocols.session.graph_draw import draw_commitment
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.codec import decode_body, open_envelope
from securefl_protocols.wire.messages import CommittedKeys, Reveal
from securefl_protocols.wire.signed_statements import signed_message
from securefl_protocols.wire.transcript import Transcript
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    changed,
    entropy_of,
    inputs,
    only,
    plain_sum,
    small_plan,
    told,
)

VICTIM, COLLUDER, DEALER = 3, 7, 0


def sparse_plan(**changes):
    return replace(small_plan(9, min_members=5, **changes), degree=6, threshold=4)


def advertised(consortium=None):
    """A session in which all have advertised keys and none has revealed yet."""
    exchange = Exchange.of(consortium or Consortium(sparse_plan()))
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}
    exchange.step()
    return exchange


def graph_of(exchange, member=VICTIM):
    plan = exchange.clients[member]._opening.party.plan
    return [plan.neighbours(i) for i in range(plan.members)]


def test_all_parties_have_one_graph():
    exchange = advertised()
    exchange.step()
    expected = [exchange.server.plan.neighbours(i) for i in range(9)]
    assert all(graph_of(exchange, i) == expected for i in range(9))
    assert {c.state for c in exchange.clients} == {ClientState.READY}


def test_a_plan_fixes_no_graph_beforehand():
    """What was agreed has no seed that a key rotation, or any other change, could redraw."""
    plan = sparse_plan()
    with pytest.raises(LocalProtocolError, match="not drawn yet"):
        plan.neighbours(0)
    with pytest.raises(LocalProtocolError, match="not drawn yet"):
        plan.holders(0)
    with pytest.raises(TypeError):
        small_plan(9, graph_seed=bytes(32))
    with pytest.raises(PlanError, match="seed of 32 bytes"):
        replace(small_plan(9), graph_seed=bytes(32))
    with pytest.raises(PlanError, match="seed of 32 bytes"):
        replace(plan, graph_seed=bytes(31))
    with pytest.raises(LocalProtocolError, match="not to be drawn"):
        plan.drawn(bytes(32)).drawn(bytes(32))


def test_one_honest_value_makes_another_graph():
    """All but one member the same, keys included: the graph is another one."""
    seen = set()
    for attempt in range(6):
        consortium = Consortium(sparse_plan())
        exchange = Exchange.of(consortium)
        exchange.clients[VICTIM] = consortium.client(VICTIM, entropy_of(f"attempt {attempt}"))
        exchange.advertise()
        seen.add(str(graph_of(exchange)))
    assert len(seen) == 6


def test_rotated_key_of_one_member_cannot_be_tried_offline():
    """Values are hidden until all keys are there, and no two sessions share one."""
    values = set()
    for agreement in (b"before", b"after the rotation"):
        consortium = Consortium(sparse_plan(), agreement=sha256(agreement).digest())
        exchange = advertised(consortium)
        values |= {body_of(message).value for message in exchange.outbox.values()}
    assert len(values) == 18


def reveal_of(exchange, member):
    envelope = open_envelope(exchange.outbox[member], largest=1 << 20)
    return decode_body(envelope.kind, envelope.body)


def resigned(exchange, member, message):
    client = exchange.clients[member]
    return signed_message(
        message,
        context=client._opening._opening,
        sender=member,
        session_key=client._keystore.encryption.public,
        identity=client._opening.party.identity,
    )


def test_value_chosen_after_those_of_others_is_refused():
    exchange = advertised()
    late = replace(reveal_of(exchange, COLLUDER), value=b"chosen when all others were known"[:32])
    drop = exchange.server.receive(COLLUDER, resigned(exchange, COLLUDER, late))
    assert drop.reason is DropoutReason.BAD_VALUE
    del exchange.outbox[COLLUDER]
    with pytest.raises(TooFewSurvivors, match=r"\[7\] did not reveal"):
        exchange.step()


def test_value_shown_to_a_member_that_was_not_committed_to():
    exchange = advertised()
    exchange.tamper = only(
        VICTIM, lambda m: changed(m, values=dict(told(m).values) | {COLLUDER: bytes(32)})
    )
    with pytest.raises(RemoteProtocolError, match="not the one committed to") as refused:
        exchange.step()
    assert refused.value.peer == COLLUDER


@pytest.mark.parametrize("silent", [COLLUDER, DEALER, 8])
def test_last_to_reveal_may_not_choose_by_silence(silent):
    """With or without its value would be a choice of two graphs; the opening ends instead."""
    exchange = advertised()
    with pytest.raises(TooFewSurvivors, match="did not reveal; open another session"):
        exchange.step(silent=[silent])
    assert exchange.server.step is ServerStep.CLOSED
    assert (silent, DropoutReason.SILENT) in [
        (d.member, d.reason) for d in exchange.server.dropouts
    ]


@pytest.mark.parametrize("absent", [COLLUDER, VICTIM])
def test_member_shown_a_draw_without_a_value(absent):
    exchange = advertised()
    exchange.tamper = only(
        VICTIM,
        lambda m: changed(m, values={i: v for i, v in told(m).values.items() if i != absent}),
    )
    with pytest.raises(RemoteProtocolError, match="values of exactly the cohort"):
        exchange.step()


def test_other_commitment_of_our_own_is_refused():
    """A member reveals only beside the commitment that it made, so its value is in the seed."""
    exchange = Exchange.of(Consortium(sparse_plan()))
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}

    def swap(message):
        rows = dict(told(message).keys)
        return changed(message, keys=rows | {VICTIM: rows[VICTIM][:128] + bytes(32)})

    exchange.tamper = only(VICTIM, swap)
    with pytest.raises(RemoteProtocolError, match="our own keys were changed"):
        exchange.step()
    assert VICTIM not in exchange.outbox


def test_other_commitment_of_another_has_no_signature():
    exchange = Exchange.of(Consortium(sparse_plan()))
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}

    def swap(message):
        rows = dict(told(message).keys)
        return changed(message, keys=rows | {COLLUDER: rows[COLLUDER][:128] + bytes(32)})

    exchange.tamper = only(VICTIM, swap)
    with pytest.raises(RemoteProtocolError) as refused:
        exchange.step()
    assert refused.value.peer == COLLUDER


def test_two_graphs_do_not_understand_each_other(monkeypatch):
    """A victim that was led to another graph signs under another context, and is alone with it."""
    exchange = advertised()
    honest = client_opening.graph_seed
    messages = exchange.outbox
    for index, message in messages.items():
        exchange.server.receive(index, message)
    shown = exchange.server.end_step()
    for index, message in shown.items():
        monkeypatch.setattr(
            client_opening,
            "graph_seed",
            (lambda *_: b"x" * 32) if index == VICTIM else honest,
        )
        exchange.clients[index].receive(message)
    vectors = inputs(exchange.server.plan)
    exchange.begin(vectors)
    result = exchange.finish()
    assert VICTIM not in result.survivors
    assert (VICTIM, DropoutReason.BAD_SIGNATURE) in [
        (d.member, d.reason) for d in exchange.server.dropouts
    ]


def test_commitment_of_one_member_is_none_of_another():
    assert draw_commitment(bytes(32), 1, bytes(32)) != draw_commitment(bytes(32), 2, bytes(32))
    assert draw_commitment(bytes(32), 1, bytes(32)) != draw_commitment(b"x" * 32, 1, bytes(32))


def test_cohort_of_a_sparse_graph_is_proved_by_signatures():
    """A coordinator cannot count members in that never advertised keys."""
    exchange = Exchange.of(Consortium(sparse_plan()))
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}
    for index in range(8):
        exchange.server.receive(index, exchange.outbox[index])
    message = exchange.server.end_step()[VICTIM]
    padded = told(message)
    rows = dict(padded.keys) | {8: b"s" * 64 + padded.keys[VICTIM][64:]}
    forged = changed(message, cohort=b"\xff\x01", keys=rows)
    with pytest.raises(RemoteProtocolError) as refused:
        exchange.clients[VICTIM].receive(forged)
    assert refused.value.peer == 8


# The secret of the checksums, dealt by one member while the graph is drawn.


def test_forged_sum_in_a_sparse_graph_is_not_accepted():
    """Members of a sparse session once took any total; now they check it as all others do."""
    exchange = Exchange.of(Consortium(sparse_plan()))
    exchange.advertise()
    vectors = inputs(exchange.server.plan)
    exchange.begin(vectors)
    for _ in range(3):
        exchange.step()
    exchange.tamper = only(VICTIM, lambda m: changed(m, total=bytes(len(told(m).total))))
    with pytest.raises(RemoteProtocolError, match="not that of the survivors"):
        exchange.step()
    assert np.array_equal(exchange.results[0].total, plain_sum(vectors))


def test_total_without_a_checksum_is_no_message():
    exchange = Exchange.of(Consortium(sparse_plan()))
    exchange.advertise()
    exchange.begin(inputs(exchange.server.plan))
    for _ in range(3):
        exchange.step()
    exchange.tamper = only(VICTIM, lambda m: changed(m, tag=b""))
    with pytest.raises(RemoteProtocolError):
        exchange.step()


def test_plan_without_checksums_does_not_exist():
    with pytest.raises(TypeError):
        SessionPlan(**dict.fromkeys(SessionPlan.__slots__, 1), with_checksum=False)


@pytest.mark.parametrize("box", [bytes(1), bytes(7), bytes(12), bytes(59)])
def test_box_of_another_length_is_no_message(box):
    """One shorter than its nonce was an error of the member's own, and not of who sent it."""
    exchange = advertised()
    exchange.tamper = only(VICTIM, lambda m: changed(m, box=box))
    with pytest.raises(RemoteProtocolError, match="box has another length"):
        exchange.step()


@pytest.mark.parametrize("box", [b"", bytes(60)])
def test_box_that_the_dealer_did_not_seal(box):
    exchange = advertised()
    exchange.tamper = only(VICTIM, lambda m: changed(m, box=box))
    with pytest.raises(RemoteProtocolError):
        exchange.step()
    assert exchange.clients[VICTIM].state is ClientState.ABORTED


def test_box_for_the_dealer_itself_is_refused():
    exchange = advertised()
    exchange.tamper = only(DEALER, lambda m: changed(m, box=bytes(60)))
    with pytest.raises(RemoteProtocolError, match="has no box"):
        exchange.step()


def test_box_of_another_member_is_refused():
    exchange = advertised()
    boxes = {}

    def swapped(member, message):
        boxes[member] = told(message).box
        return changed(message, box=boxes[1]) if member == VICTIM else message

    exchange.tamper = swapped
    with pytest.raises(RemoteProtocolError) as refused:
        exchange.step()
    assert refused.value.peer == DEALER


def test_boxes_of_a_member_that_does_not_deal():
    exchange = advertised()
    boxes = reveal_of(exchange, DEALER).boxes
    assert set(boxes) == set(range(1, 9))
    stray = replace(reveal_of(exchange, COLLUDER), boxes={1: bytes(60)})
    drop = exchange.server.receive(COLLUDER, resigned(exchange, COLLUDER, stray))
    assert drop.reason is DropoutReason.MALFORMED
    few = replace(reveal_of(exchange, DEALER), boxes={1: boxes[1]})
    drop = exchange.server.receive(DEALER, resigned(exchange, DEALER, few))
    assert drop.reason is DropoutReason.MALFORMED


def test_secrets_that_differ_split_the_round_and_hide_the_tags():
    """A dealer with two secrets splits the members; the largest group has the sum."""
    exchange = Exchange.of(Consortium(sparse_plan()))
    exchange.advertise()
    exchange.clients[VICTIM]._keystore.checksum_secret = b"another secret than all others have"[:32]
    vectors = inputs(exchange.server.plan)
    exchange.begin(vectors)
    result = exchange.finish()
    assert result.survivors == tuple(i for i in range(9) if i != VICTIM)
    assert np.array_equal(result.total, plain_sum(v for i, v in enumerate(vectors) if i != VICTIM))


def test_transcript_of_a_sparse_session_replays_with_its_draw():
    consortium = Consortium(sparse_plan())
    exchange = Exchange.of(consortium)
    exchange.advertise()
    exchange.begin(inputs(exchange.server.plan))
    result = exchange.finish({ServerStep.MASK: [4]})
    transcript = exchange.server.transcript()
    known = {
        "plan": consortium.plan,
        "roster": consortium.roster,
        "context": consortium.context,
        "model": MODEL,
    }
    again = Transcript.from_bytes(transcript.to_bytes())
    assert np.array_equal(replay(again, **known).total, result.total)
    without = replace(transcript, messages=(transcript.messages[0], *transcript.messages[2:]))
    with pytest.raises(RemoteProtocolError, match="does not replay"):
        replay(without, **known)
    reveals = {m: d for m, d in transcript.messages[1].items() if m != COLLUDER}
    fewer = (transcript.messages[0], reveals, *transcript.messages[2:])
    with pytest.raises(RemoteProtocolError, match="does not replay"):
        replay(replace(transcript, messages=fewer), **known)


def test_messages_of_a_draw_belong_to_sparse_sessions_only():
    complete, sparse = Exchange.of(Consortium(small_plan(9))), advertised()
    complete.outbox = {i: c.start(1, MODEL) for i, c in enumerate(complete.clients)}
    assert type(body_of(complete.outbox[0])) is not CommittedKeys
    drop = complete.server.receive(1, sparse.outbox[1])
    assert drop.reason is DropoutReason.MALFORMED
    with pytest.raises(RemoteProtocolError, match="no CommittedKeyList is expected"):
        complete.clients[0].receive(changed_key_list(sparse))


def changed_key_list(exchange):
    return next(iter(exchange.server._keys.key_lists(exchange.server.opening()[0]).values()))


def test_reveal_before_and_after_its_step():
    consortium = Consortium(sparse_plan())
    early, exchange = Exchange.of(consortium), advertised(consortium)
    reveal = exchange.outbox[COLLUDER]
    assert type(body_of(reveal)) is Reveal
    assert early.server.receive(COLLUDER, reveal).reason is DropoutReason.OUT_OF_STEP
    others = dict(exchange.outbox)
    exchange.step()
    exchange.begin(inputs(exchange.server.plan))
    assert exchange.server.receive(COLLUDER, others[COLLUDER]) is None  # The same bytes again.
    changed_reveal = resigned(exchange, COLLUDER, Reveal(bytes(32), {}))
    assert exchange.server.receive(COLLUDER, changed_reveal).reason is DropoutReason.LATE


def test_no_cliff_at_a_hundred_members():
    """The first sparse graph withstands as many colluding members as the last complete one."""
    last, first = small_plan(100), small_plan(101)
    assert last.complete
    assert not first.complete
    tolerated = 2 * last.threshold - last.members - 1
    assert tolerated == 33
    assert smallest_degree(101, 33 / 101, 0.05) == (first.degree, first.threshold)
