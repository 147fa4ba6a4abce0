"""What is sent without end is kept without growth, and no foreign exception leaves a session."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl_protocols.primitives.errors import ChecksumFailed, ProtocolError, RemoteProtocolError
from securefl_protocols.session import client, server
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import Dropout, DropoutReason, ServerStep
from securefl_protocols.wire.kinds import COORDINATOR_MESSAGES, MEMBER_MESSAGES
from support.session_driver import MODEL, Consortium, Exchange, chains, inputs, small_plan

from protocols.attacks.test_messages import LAYERED, PLAN, SPARSE  # isort: skip


def masked(plan=None):
    exchange = Exchange.of(Consortium(plan or small_plan(5, rounds=40)))
    exchange.advertise()
    exchange.begin(inputs(exchange.server.plan))
    exchange.step()
    return exchange


def test_late_messages_without_end_are_noted_once():
    exchange = masked()
    late = exchange.outbox[3]
    exchange.step(silent=[3])
    before = len(exchange.server.dropouts)
    for _ in range(500):
        data = bytearray(late)
        data[6:70] = os.urandom(64)
        assert exchange.server.receive(3, bytes(data)).reason is DropoutReason.LATE
    assert len(exchange.server.dropouts) == before + 1


def test_dropouts_of_rounds_long_ago_are_forgotten():
    plan = small_plan(5, rounds=30)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    seen = set()
    for number in range(1, 30):
        exchange.begin(inputs(plan), number)
        exchange.finish({ServerStep.MASK: [3]})
        seen.add(len(exchange.server.dropouts))
    assert seen == {1}


def test_a_ban_of_an_earlier_round_is_remembered():
    exchange = masked()
    exchange.server.receive(3, b"no message")
    del exchange.outbox[3]
    for _ in range(3):
        exchange.step()
    exchange.begin(inputs(small_plan(5)), 2)
    assert [d.member for d in exchange.server.dropouts] == [3]
    assert 3 not in exchange.server.waiting_for()


def test_repeated_messages_are_not_kept_by_a_member():
    exchange = masked()
    told = exchange.step()[0]
    member = exchange.clients[0]
    heard = len(member._heard)
    for _ in range(100):
        assert member.receive(told) == []
    assert len(member._heard) == heard


class Surprise(Exception):
    pass


def surprised(*_, **__):
    raise Surprise("what no check foresaw")


def test_foreign_exception_in_a_member_is_the_protocols_own(monkeypatch):
    exchange = masked()
    monkeypatch.setattr(client, "decode_coordinator", surprised)
    with pytest.raises(RemoteProtocolError, match="cannot be handled"):
        exchange.clients[0].receive(b"anything")
    assert exchange.clients[0].state is ClientState.ABORTED
    with pytest.raises(RemoteProtocolError, match="cannot be handled"):
        exchange.clients[0].receive(b"more")


def test_foreign_exception_in_the_coordinator_costs_its_sender(monkeypatch):
    exchange = masked()
    monkeypatch.setattr(server, "open_envelope", surprised)
    assert exchange.server.receive(2, b"anything").reason is DropoutReason.MALFORMED
    assert exchange.server.banned == {2}
    monkeypatch.undo()
    del exchange.outbox[2]
    exchange.step()
    assert exchange.server.step is ServerStep.CONSISTENCY


PLANS = {"complete": PLAN, "layered": LAYERED, "sparse": SPARSE}
HEADS = [bytes((2, code)) for code in (*COORDINATOR_MESSAGES, *MEMBER_MESSAGES)]


def stand(name, steps):
    """A session in which so many steps have ended."""
    plan = PLANS[name]
    exchange = Exchange.of(Consortium(plan))
    exchange.layers = chains(plan)
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}
    for _ in range(steps):
        if exchange.server.step is ServerStep.IDLE:
            exchange.begin(inputs(exchange.server.plan))
        exchange.step()
    return exchange


@st.composite
def mutated(draw, data):
    """A good message with bytes changed, cut out, put in or joined with others."""
    way = draw(st.integers(0, 4))
    at = draw(st.integers(0, len(data) - 1))
    some = draw(st.binary(min_size=1, max_size=12))
    if way == 0:
        return data[:at] + some + data[at + len(some) :]
    if way == 1:
        return data[:at] + some + data[at:]
    if way == 2:
        return data[:at] + data[at + draw(st.integers(1, 40)) :]
    if way == 3:
        return draw(st.sampled_from(HEADS)) + data[2:]
    return draw(st.sampled_from(HEADS)) + draw(st.binary(max_size=300))


@settings(max_examples=250, deadline=None)
@given(st.data(), st.sampled_from(list(PLANS)), st.integers(0, 4))
def test_mutated_messages_raise_nothing_foreign(data, name, steps):
    """Whatever arrives at whom: taken, or refused in the protocol's own words."""
    exchange = stand(name, steps)
    up = data.draw(st.sampled_from(sorted(exchange.outbox.items()))) if exchange.outbox else None
    if up is not None:
        member, message = up
        answer = exchange.server.receive(member, data.draw(mutated(message)))
        assert answer is None or isinstance(answer, Dropout)
    try:
        exchange.step()
        if exchange.server.step is ServerStep.IDLE:
            exchange.begin(inputs(exchange.server.plan))
        told = exchange.server.end_step() if not up else {}
    except ProtocolError:
        return
    victim = exchange.clients[2]
    source = data.draw(st.sampled_from([*told.values(), *exchange.outbox.values(), bytes(90)]))
    try:
        victim.receive(data.draw(mutated(source)))
    except ChecksumFailed:
        assert victim.state is ClientState.READY
    except RemoteProtocolError:
        assert victim.state is ClientState.ABORTED
