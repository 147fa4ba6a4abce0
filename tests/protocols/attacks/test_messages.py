"""Oversized, truncated, random and mutated messages: refused or taken, and nothing else."""

import random
from dataclasses import replace

import msgpack
import numpy as np
import pytest

from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    LocalProtocolError,
    RemoteProtocolError,
)
from securefl_protocols.proofs.norm_terms import NormTerms
from securefl_protocols.session import advertised_keys, client_opening, client_round
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import OPENING, DropoutReason
from securefl_protocols.wire.codec import (
    decode_body,
    decode_coordinator,
    encode_body,
    encode_coordinator,
    open_envelope,
)
from securefl_protocols.wire.kinds import COORDINATOR_MESSAGES, MEMBER_MESSAGES
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    Consistency,
    MaskedInput,
    ProvenSignatures,
    ProvenSum,
    Signatures,
)
from securefl_protocols.wire.roster import members_from_bits, members_to_bits
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    chains,
    entropy_of,
    inputs,
    small_plan,
    told,
)

LARGEST = 1 << 20


PLAN = small_plan(4, dimension=4)
LAYERED = small_plan(4, dimension=4, layered=True)
SPARSE = replace(small_plan(6, dimension=4), degree=4, threshold=3)
NORM = NormTerms.of(1.0, coordinates=2, scale=8.0, error=0.5, weight=(1, 5, 20))
NORMED = small_plan(4, dimension=4, norm=NORM)
NORMED_DOWN = [
    encode_coordinator(ProvenSignatures(1, {0: bytes(64)}, b"proofs")),
    encode_coordinator(ProvenSum(1, bytes(12), bytes(16), bytes(32))),
]
"""What the state refuses before a proof is looked at."""


def recorded(plan):
    """Returns every message of one session: the members', the coordinator's."""
    exchange = Exchange.of(Consortium(plan))
    exchange.layers = chains(plan)
    up, down = [], []
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}
    while exchange.server.step in OPENING:
        up.extend(exchange.outbox.values())
        down.extend(exchange.step().values())
    exchange.begin(inputs(plan))
    for _ in range(4):
        up.extend(exchange.outbox.values())
        down.extend(exchange.step().values())
    return up, down


UP, DOWN = recorded(PLAN)
LAYERED_UP, LAYERED_DOWN = recorded(LAYERED)
SPARSE_UP, SPARSE_DOWN = recorded(SPARSE)
ALL = [*UP, *DOWN, *LAYERED_UP, *LAYERED_DOWN, *SPARSE_UP, *SPARSE_DOWN, *NORMED_DOWN]


@pytest.mark.parametrize("data", ALL, ids=range(len(ALL)))
def test_every_message_is_written_in_one_way(data):
    kind = data[1]
    if kind in MEMBER_MESSAGES:
        envelope = open_envelope(data, largest=LARGEST)
        message = decode_body(envelope.kind, envelope.body)
        assert encode_body(message) == bytes(envelope.body)
    else:
        assert encode_coordinator(told(data)) == data


@pytest.mark.parametrize("cut", range(8))
@pytest.mark.parametrize("data", [UP[0], UP[4], DOWN[0], DOWN[-1]], ids=range(4))
def test_truncated_messages(data, cut):
    decode = body_of if data[1] in MEMBER_MESSAGES else told
    with pytest.raises(RemoteProtocolError):
        decode(data[: len(data) * cut // 8])
    with pytest.raises(RemoteProtocolError):
        decode(data + b"\x00")


def test_oversized_messages_are_refused_unread():
    with pytest.raises(RemoteProtocolError, match="at most 1000 bytes"):
        decode_coordinator(b"\x02\x41" + bytes(1000), largest=1000)
    with pytest.raises(RemoteProtocolError, match="at most 1000 bytes"):
        open_envelope(b"\x02\x01" + bytes(1000), largest=1000)
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    drop = exchange.server.receive(0, bytes(plan.largest_message + 1))
    assert drop.reason is DropoutReason.MALFORMED


ROW = b"\x00\x00\x00\x07" + b"d" * 32
"""A table of one survivor."""


def packed(pairs, head=b"\x02\x43"):
    """Packs pairs as a map, also where a dict could not hold them."""
    body = bytes([0x80 | len(pairs)]) + b"".join(msgpack.packb(x) for pair in pairs for x in pair)
    return head + body


@pytest.mark.parametrize(
    "data",
    [
        packed([("round", 1), ("survivors", ROW), ("more", 1)]),
        packed([("round", 1)]),
        packed([("survivors", ROW), ("round", 1)]),
        packed([("round", 1), ("round", 1)]),
        packed([("round", 1), ("survivors", ROW), ("survivors", ROW)]),
        packed([("round", -1), ("survivors", ROW)]),
        packed([("round", 1 << 32), ("survivors", ROW)]),
        packed([("round", True), ("survivors", ROW)]),
        packed([("round", 1.0), ("survivors", ROW)]),
        packed([("round", None), ("survivors", ROW)]),
        packed([("round", 1), ("survivors", ROW.decode())]),
        packed([("round", 1), ("survivors", bytes(35))]),
        packed([("round", 1), ("survivors", {"a": 1})]),
        packed([("round", 1), ("survivors", [1])]),
        packed([(1, 1), ("survivors", ROW)]),
        packed([("round", 1), ("survivors", msgpack.ExtType(5, b"x"))]),
        packed([("round", 1), ("survivors", msgpack.Timestamp(0, 0))]),
        b"\x02\x43\x82\xa5round\xcc\x01\xa9survivors\xc4\x24" + ROW,
        b"\x02\x43\x82\xa5round\x01\xa9survivors\xc5\x00\x24" + ROW,
        b"\x02\x43\x82\xd9\x05round\x01\xa9survivors\xc4\x24" + ROW,
        b"\x02\x43\xde\x00\x02\xa5round\x01\xa9survivors\xc4\x24" + ROW,
        b"\x02\x43\x82\xa5round\x01\xa9survivors\xc6\xff\xff\xff\xff" + ROW,
        b"\x02\x43\xdf\xff\xff\xff\xff",
        b"\x02\x43\xdd\xff\xff\xff\xff",
        b"\x02\x43" + b"\x81\xa1a" * 2000,
        b"\x02\x43\x90",
        b"\x02\x43\x82\xa5\xff\xff\xff\xff\xff\x01\xa9survivors\xc4\x24" + ROW,
        b"\x02\x43\xc1",
        b"\x02\x43",
        b"\x01\x43\x80",
        b"\x02\x00\x80",
        b"\x02",
        b"",
    ],
)
def test_malformed_bodies(data):
    with pytest.raises(RemoteProtocolError):
        decode_coordinator(data, largest=LARGEST)


def test_well_formed_body_is_accepted():
    data = packed([("round", 1), ("survivors", ROW)])
    assert decode_coordinator(data, largest=LARGEST).survivors == {7: b"d" * 32}


@pytest.mark.parametrize(
    "rows",
    [
        b"\x00\x00\x00\x01" + bytes(63),
        (b"\x00\x00\x00\x01" + bytes(64)) * 2,
        b"\x00\x00\x00\x02" + bytes(64) + b"\x00\x00\x00\x01" + bytes(64),
    ],
    ids=["short row", "same member twice", "out of order"],
)
def test_malformed_tables(rows):
    with pytest.raises(RemoteProtocolError):
        decode_body(Signatures, msgpack.packb({"round": 1, "signatures": rows}))


@pytest.mark.parametrize("bits", [b"", b"\xff", b"\xff\x0f", b"\x01\x00"])
def test_malformed_sets_of_members(bits):
    with pytest.raises(RemoteProtocolError):
        members_from_bits(bits, 5)
    assert members_from_bits(members_to_bits([0, 4], 5), 5) == {0, 4}


def test_message_in_the_name_of_another():
    exchange = Exchange.of(Consortium(small_plan(5)))
    message = exchange.clients[1].start(1, MODEL)
    assert exchange.server.receive(0, message).reason is DropoutReason.MALFORMED
    with pytest.raises(LocalProtocolError, match="not in the roster"):
        exchange.server.receive(5, message)


def test_two_different_messages_for_one_step_and_then_nothing_more():
    consortium = Consortium(small_plan(5))
    exchange = Exchange.of(consortium)
    receive = exchange.server.receive
    first = exchange.clients[0].start(1, MODEL)
    assert receive(0, first) is None
    assert receive(0, first) is None
    second = consortium.client(0, entropy_of("other keys")).start(1, MODEL)
    drop = receive(0, second)
    assert drop.reason is DropoutReason.EQUIVOCATION
    assert receive(0, first) is drop


def test_message_for_a_step_that_has_not_begun():
    exchange = Exchange.of(Consortium(small_plan(5)))
    drop = exchange.server.receive(0, UP[4])
    assert drop.reason in (DropoutReason.OUT_OF_STEP, DropoutReason.MALFORMED)
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients) if i}
    exchange.step()
    assert 0 not in exchange.server._keys.by_member


def test_aborted_client_answers_nothing_any_more():
    exchange = Exchange.of(Consortium(small_plan(5)))
    member = exchange.clients[0]
    member.start(1, MODEL)
    with pytest.raises(RemoteProtocolError, match="not of this version"):
        member.receive(b"")
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients) if i}
    for index, message in exchange.outbox.items():
        exchange.server.receive(index, message)
    good = exchange.server.end_step()[1]
    with pytest.raises(RemoteProtocolError, match="not of this version"):
        member.receive(good)
    assert member.state is ClientState.ABORTED
    with pytest.raises(LocalProtocolError, match="ABORTED"):
        member.begin_round(1, MODEL, np.zeros(8, "<u4"))


@pytest.mark.parametrize("state", [s for s in ClientState if s is not ClientState.ABORTED])
def test_messages_that_a_state_does_not_allow(state):
    for kind in COORDINATOR_MESSAGES:
        messages = [*DOWN, *LAYERED_DOWN, *SPARSE_DOWN, *NORMED_DOWN]
        example = next(m for m in messages if m[1] == kind)
        plans = {LAYERED: LAYERED_DOWN, SPARSE: SPARSE_DOWN, NORMED: NORMED_DOWN}
        plan = next((plan for plan, down in plans.items() if example in down), PLAN)
        member = Consortium(plan).client(0)
        member.state = state
        if (state, kind) == (ClientState.ADVERTISED, 65):
            continue
        # Also in the state for the message there is no round to take it: it must not crash.
        with pytest.raises(RemoteProtocolError):
            member.receive(example)
        assert member.state is ClientState.ABORTED


def key_list():
    exchange = Exchange.of(Consortium(PLAN))
    exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}
    return exchange.step()[0]


KEY_LIST = key_list()


class Targets:
    """A client and a server in every step of one session, put back after every message."""

    def __init__(self, plan):
        self.clients, self.servers = [], []
        for steps in range(6):
            exchange = Exchange.of(Consortium(plan))
            exchange.layers = chains(plan)
            if steps:
                exchange.advertise()
                exchange.begin(inputs(plan))
            else:
                exchange.outbox = {i: c.start(1, MODEL) for i, c in enumerate(exchange.clients)}
            for _ in range(steps - 1):
                exchange.step()
            self.clients.append(exchange.clients[0])
            self.servers.append(exchange.server)
        self.kept = [
            (dict(vars(c)), dict(vars(c._round)) if c._round else {}) for c in self.clients
        ]
        self.expected = [coordinator._members.expected for coordinator in self.servers]
        self.reached = set()

    def attack_client(self, place, data):
        member = self.clients[place]
        try:
            member.receive(data)
            self.reached.add(("accepted", member.state))
        except ChecksumFailed as failed:
            assert member.state is ClientState.READY
            self.reached.add(str(failed))
        except RemoteProtocolError as refused:
            assert member.state is ClientState.ABORTED
            self.reached.add(str(refused))
        vars(member).update(self.kept[place][0])
        if member._round:
            vars(member._round).update(self.kept[place][1])

    def attack_server(self, place, sender, data):
        coordinator = self.servers[place]
        drop = coordinator.receive(sender, data)
        self.reached.add(drop.detail if drop else ("accepted", coordinator.step))
        coordinator.dropouts.clear()
        coordinator._members.banned.clear()
        coordinator._keys._known.clear()
        coordinator._members.expected = self.expected[place]
        coordinator._members.accepted[coordinator.step] = {}


def mutate(source, data):
    """Changes a message in one of the ways that break parsers."""
    changed = bytearray(data)
    way = source.randrange(6)
    if way == 0:
        for _ in range(source.randrange(1, 4)):
            changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    elif way == 1:
        del changed[source.randrange(len(changed)) :]
    elif way == 2:
        at = source.randrange(len(changed))
        changed[at:at] = source.randbytes(source.randrange(1, 9))
    elif way == 3:
        at = source.randrange(len(changed))
        changed[at : at + source.randrange(1, 9)] = b""
    elif way == 4:
        at = source.randrange(min(len(changed), 90))
        changed[at] = source.choice((0x00, 0x7F, 0x80, 0xC0, 0xC1, 0xC4, 0xC6, 0xDE, 0xDF, 0xFF))
    else:
        changed = bytearray(data[:2] + source.randbytes(source.randrange(200)))
    return bytes(changed)


IN_THE_PLACE_OF = {6: 3, 7: 5, 70: 67, 71: 69}
"""Codes of messages with layers, and of those without them that belong to the same step."""


def fuzz(count, seed, plan=PLAN):
    """Sends mutated messages mostly to where they belong, so that every check is reached."""
    source, targets = random.Random(seed), Targets(plan)
    messages = [*(LAYERED_UP + LAYERED_DOWN if plan.layers else UP + DOWN), KEY_LIST]
    for _ in range(count):
        original = source.choice(messages)
        data = mutate(source, original)
        belongs = IN_THE_PLACE_OF.get(original[1], original[1])
        place = (belongs - 1) % 64 if source.random() < 0.8 else source.randrange(6)
        if original[1] in COORDINATOR_MESSAGES:
            targets.attack_client(place, data)
        else:
            sender = int.from_bytes(data[2:6], "big") if source.random() < 0.9 else 0
            targets.attack_server(place, sender % 4, data)
    return targets.reached


@pytest.mark.parametrize(("plan", "count"), [(PLAN, 60_000), (LAYERED, 20_000)])
def test_fuzzed_messages_are_refused_or_taken_and_nothing_else(plan, count):
    reached = fuzz(count, 1, plan)
    assert len(reached) > 30


def test_fuzzed_messages_under_good_signatures(monkeypatch):
    # Members that are malicious themselves sign what they mutate.
    for module in (advertised_keys, client_opening, client_round):
        monkeypatch.setattr(module, "check_signature", lambda *_, **__: None)
    reached = fuzz(40_000, seed=2)
    accepted = {entry for entry in reached if entry[0] == "accepted"}
    assert len(accepted) > 4
    assert len(reached) > 40


def test_random_bytes():
    source = random.Random(3)
    for _ in range(2000):
        data = source.randbytes(source.randrange(300))
        for decode in (body_of, told):
            with pytest.raises(RemoteProtocolError):
                decode(data)


def test_kinds_of_members_and_coordinator_do_not_meet():
    assert not MEMBER_MESSAGES.keys() & COORDINATOR_MESSAGES.keys()
    assert {AdvertiseKeys, MaskedInput, Consistency} <= set(MEMBER_MESSAGES.values())
