"""What one member or a stranger sends to harm the others, by the raw protocol of the broker."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

nats = pytest.importorskip("nats")

from securefl.consortium.keys.nkeys import BrokerKey  # noqa: E402
from securefl.federation import messages as m  # noqa: E402
from securefl.federation.transport.base import EngineError  # noqa: E402
from securefl.federation.transport.faults import StandingFaults  # noqa: E402
from securefl.federation.transport.nats import listening  # noqa: E402
from securefl.federation.transport.nats.batch import Question  # noqa: E402
from securefl.federation.transport.nats.broker_config import MAX_CONNECTIONS  # noqa: E402
from securefl.federation.transport.nats.chunking import MOST_KEYS, Reassembler  # noqa: E402
from securefl.federation.transport.nats.client import (  # noqa: E402
    LARGEST_HEADERS,
    BrokerAddress,
    CarefulClient,
)
from securefl.federation.transport.nats.connection import NatsClient  # noqa: E402
from securefl.federation.transport.nats.consumer import Reader  # noqa: E402
from securefl.federation.transport.nats.dev_broker import Broker  # noqa: E402
from securefl.federation.transport.nats.heartbeats import Heartbeats  # noqa: E402
from securefl.federation.transport.nats.part_errors import BadPartError  # noqa: E402
from securefl.federation.transport.nats.quota import MOST_STRIKES, Quota  # noqa: E402
from securefl.federation.transport.nats.transport import NatsTransport  # noqa: E402
from securefl.federation.transport.session_keys import RunKeys  # noqa: E402
from securefl_protocols.primitives.signing import SigningKey  # noqa: E402
from support.broker_world import World, declared  # noqa: E402

CRAFTED = {
    "a status that is no text": b"NATS/1.0 \xff\xff\xff\r\n\r\n",
    "a description that is no text": b"NATS/1.0 100 \xff\xff\r\n\r\n",
    "a million headers": b"NATS/1.0\r\n" + b"a:b\r\n" * 800_000 + b"\r\n",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, keys, new_key):
    made = World(tmp_path_factory.mktemp("broker"), keys, new_key("hub"))
    with Broker(made.config, made.port):
        asyncio.run(declared(made))
        yield made


@pytest.fixture
def hub(world, tmp_path):
    """The coordinator's connection."""
    authority = tmp_path / "ca.pem"
    authority.write_text(world.agreement.broker.authority)
    login = BrokerKey(world.keys["coordinator"])
    address = BrokerAddress(world.agreement.broker.url, authority, login)
    with NatsClient(address, world.layout.inbox("coordinator")) as link:
        yield link


def written(subject, headers, content=b"x"):
    """A message with headers that no library would write."""
    sizes = f"{len(headers)} {len(headers) + len(content)}"
    return f"HPUB {subject} {sizes}\r\n".encode() + headers + content + b"\r\n"


def within(seconds, true):
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


@pytest.mark.parametrize(
    "name",
    [
        "a status that is no text",
        "a description that is no text",
        pytest.param("a million headers", marks=pytest.mark.slow),
    ],
)
def test_attack_crafted_headers_deafen_nobody(world, hub, name):
    """In nats-py they end the reading of all messages for 15 s, or take seconds of it."""
    heard, layout = [], world.layout
    for party in ("north", "south"):
        quota = Quota(party)
        hub.listen_for_beats(
            layout.beat(party), lambda part, party=party: heard.append((party, part)), quota
        )

    async def attack():
        south, north = await world.connect("south"), await world.connect("north")
        await south._send_command(written(layout.beat("south"), CRAFTED[name]))
        await south.flush()
        await north.publish(layout.beat("north"), b"alive")
        await north.flush()
        for client in (south, north):
            await client.close()

    asyncio.run(attack())
    assert within(3, lambda: ("north", b"alive") in [(who, part[1]) for who, part in heard])
    assert ("south", ({}, b"x")) in heard  # without headers it is no heartbeat, and a strike


def test_headers_of_ours_are_read():
    """The limit is far above them, and a status of the broker is still understood."""
    ours = b"NATS/1.0\r\nSecurefl-Id: a\r\nSecurefl-Key: " + b"f" * 64 + b"\r\n\r\n"
    assert len(ours) * 10 < LARGEST_HEADERS
    read = CarefulClient()._process_headers
    assert asyncio.run(read(ours)) == {"Securefl-Id": "a", "Securefl-Key": "f" * 64}
    assert asyncio.run(read(b"NATS/1.0 404 No Messages\r\n\r\n"))["Status"] == "404"


@pytest.mark.parametrize("size", [1, 1 << 17])
def test_heartbeats_of_a_member_that_is_cut_off_are_not_carried(world, hub, size, monkeypatch):
    """Else its flood goes on to take the coordinator's line and time, though nothing reads it.

    When its time is over they are heard again.
    """
    monkeypatch.setattr(listening, "_LOOK_SECONDS", 0.01)
    now, subject = [0.0], world.layout.beat("south")
    quota = Quota("south", clock=lambda: now[0])
    hub.listen_for_beats(subject, lambda part: quota.strike("junk"), quota)

    async def flood():
        south = await world.connect("south")
        for _ in range(MOST_STRIKES + 64):
            await south.publish(subject, bytes(size))
        await south.flush(timeout=30)
        await south.close()

    asyncio.run(flood())
    carried = lambda: subject in {sub.subject for sub in hub.client._subs.values()}  # noqa: E731
    assert within(2, lambda: not carried())
    assert "south is cut off" in quota.reason
    now[0] = 600.0
    assert within(2, carried)
    assert not quota.reason


def test_attack_true_heartbeats_without_end_are_struck():
    """Each is opened and noted; ten a second are far more than a member has to say."""
    heard, quota = [], Quota("south")
    watch = SimpleNamespace(heard=lambda name, step: heard.append(step))
    heartbeats = Heartbeats(None, {"south": bytes(32)}, watch, {"south": quota})
    heartbeats._step_in = lambda sender, part: b"waiting"
    for _ in range(40):
        heartbeats.take("south", ({}, b"x"))
    assert quota.strikes == 0
    for _ in range(MOST_STRIKES + 100):
        heartbeats.take("south", ({}, b"x"))
    assert "south sends heartbeats without end" in quota.reason
    assert len(heard) == 100


def test_attack_greeting_without_tls(world, hub):
    """Whoever is in between asks for no TLS; the answer would log him in at the true broker."""
    heard = b""
    with socket.create_server(("127.0.0.1", 0)) as between:

        def greet():
            nonlocal heard
            with between.accept()[0] as caller, contextlib.suppress(OSError):
                caller.settimeout(2)
                caller.sendall(b'INFO {"nonce":"of the broker","auth_required":true}\r\n')
                heard = caller.recv(1 << 16)

        meeting = threading.Thread(target=greet)
        meeting.start()
        address = replace(hub._address, url=f"tls://127.0.0.1:{between.getsockname()[1]}")
        with pytest.raises(EngineError, match="no connection"):
            NatsClient(address, "_INBOX.x", timeout=0.3)
        meeting.join(5)
    assert heard.startswith(b"\x16\x03")  # a handshake of TLS


def test_attack_relay_of_the_brokers_nonce(world, hub):
    """The true broker's challenge, handed on in the clear: the party signs nothing for it.

    Nor does the broker say its challenge before the handshake, to a relay that only copies bytes.
    """
    said, true_place = b"", ("127.0.0.1", world.port)
    context = ssl.create_default_context(cadata=world.agreement.broker.authority)
    with (
        socket.create_connection(true_place, timeout=0.2) as plain,
        socket.create_connection(true_place, timeout=2) as far,
        context.wrap_socket(far, server_hostname="127.0.0.1") as broker,
        socket.create_server(("127.0.0.1", 0)) as between,
    ):
        with pytest.raises(TimeoutError):
            plain.recv(1)
        greeting = broker.recv(1 << 16)
        assert b'"nonce":"' in greeting
        asking = b'"tls_required":true'  # a library that is asked for none would answer at once
        greeting = greeting.replace(asking, asking.replace(b"true", b"false"))

        def relay():
            nonlocal said
            with between.accept()[0] as caller, contextlib.suppress(OSError):
                caller.settimeout(2)
                caller.sendall(greeting)
                said = caller.recv(1 << 16)

        meeting = threading.Thread(target=relay)
        meeting.start()
        address = replace(hub._address, url=f"tls://127.0.0.1:{between.getsockname()[1]}")
        with pytest.raises(EngineError, match="no connection"):
            NatsClient(address, "_INBOX.x", timeout=0.3)
        meeting.join(5)
        broker.sendall(said + b"\r\nPING\r\n")
        assert b"PONG" not in broker.recv(1 << 16)
    assert said.startswith(b"\x16\x03")  # a handshake of TLS
    assert b'"sig"' not in said


def test_attack_stranger_takes_all_places(world):
    """Connections that never log in; a party that reconnects still finds a place."""
    places = 3 * MAX_CONNECTIONS * (len(world.agreement.members) + 1)
    with contextlib.ExitStack() as stack:
        for _ in range(places):
            stack.enter_context(socket.create_connection(("127.0.0.1", world.port)))
        time.sleep(0.2)

        async def reconnect():
            for _ in range(3):
                client = await world.connect("north")
                await client.close()

        asyncio.run(reconnect())


def test_attack_member_acknowledges_what_another_is_told(world):
    """In nats-server before 2.12.5, an acknowledgement deletes any message of the stream it names.

    So none has two members' messages, and a member may name its own alone.
    """

    async def attack():
        layout, problems = world.layout, []
        hub = await world.connect("coordinator")
        south = await world.connect("south", problems=problems)
        stream = hub.jetstream()
        for name in ("north", "south"):
            for _ in range(3):
                await stream.publish(layout.to_member(name), b"question")
        bound = await south.jetstream().pull_subscribe_bind("south", layout.down("south"))
        await bound.fetch(3, timeout=2)
        for place in range(1, 9):
            for name in ("south", "north"):
                for consumer in ("south", "north"):
                    subject = f"$JS.ACK.{layout.down(name)}.{consumer}.1.{place}.{place}.1.0"
                    await south.publish(subject, b"+ACK")
        await south.flush()
        await asyncio.sleep(0.2)
        info = await stream.stream_info(layout.down("north"), subjects_filter=">")
        assert info.state.subjects == {layout.to_member("north"): 3}
        assert sum("permissions violation" in text for text in problems) >= 8
        for client in (hub, south):
            await client.close()

    asyncio.run(attack())


def test_no_stream_has_messages_of_two_members(world):
    layout, members = world.layout, world.keys.keys() - {"coordinator"}
    subjects = [stream.subjects for name in members for stream in layout.streams(name)]
    assert len(subjects) == 2 * len(members)
    assert all(len(named) == 1 and "*" not in named[0] for named in subjects)


def test_what_has_no_answer_is_soon_forgotten(world):
    """For each request that nobody answers, the broker keeps a reply subject: 2 minutes unasked."""
    lines = world.config.read_text().splitlines()
    exports = [line for line in lines if "service:" in line and "accounts:" in line]
    assert len(exports) == 4 * len(world.agreement.members)
    assert all("response_threshold" in line for line in exports)
    beats = [line for line in exports if ".beat." in line]
    assert len(beats) == len(world.agreement.members)
    assert all('response_threshold: "2s"' in line for line in beats)


def part(number, place, **headers):
    """A part of a message in two parts, as the broker hands it over."""
    named = {"Securefl-Id": "x", "Securefl-Part": f"{place}/2"} | headers
    at = SimpleNamespace(sequence=SimpleNamespace(stream=number))
    return SimpleNamespace(reply="$JS.ACK.x", headers=named, data=bytes(1000), metadata=at)


class Link:
    """Notes which places of the stream were claimed, and which acknowledged."""

    def __init__(self):
        self.done, self.claimed = [], set()
        self.faults = StandingFaults()
        self.arrivals = SimpleNamespace(put=lambda arrival: None)

    def claim(self, message):
        place = message.metadata.sequence.stream
        again = place in self.claimed
        self.claimed.add(place)
        return again

    def acknowledger(self, messages):
        return lambda: self.done.extend(each.metadata.sequence.stream for each in messages)


@pytest.mark.parametrize("spelling", ["{}", "0{}", "+{}"])
def test_attack_one_part_without_end_is_struck(spelling):
    """It is held once, however its number is spelt, and without its content."""
    link, quota = Link(), Quota("south")
    sender = SimpleNamespace(name="south", add=lambda headers, content: None)
    reader = Reader(link, "subject", sender, quota)

    async def attack():
        for number in range(MOST_STRIKES + 3):
            await reader._take(part(number, spelling.format(0) if number else "0"))

    asyncio.run(attack())
    assert "south sent a part twice" in quota.reason
    assert link.done == list(range(1, MOST_STRIKES + 3))
    (held,) = (message for parts in reader._parts.values() for message in parts.values())
    assert held.data == b""


def test_a_part_that_is_delivered_again_is_no_strike():
    """The broker repeats what was claimed too late."""
    quota = Quota("south")
    sender = SimpleNamespace(name="south", add=lambda headers, content: None)
    reader = Reader(Link(), "subject", sender, quota)
    for _ in range(3):
        asyncio.run(reader._take(part(7, "0")))
    assert quota.strikes == 0


def test_a_part_that_is_delivered_again_after_the_last():
    """Its message waits to be acted on: it is neither struck nor acknowledged before that."""
    link, quota, taken = Link(), Quota("south"), []
    note = SimpleNamespace(sender="south")
    sender = SimpleNamespace(name="south", add=lambda *part: taken.append(part) or note)
    reader = Reader(link, "subject", sender, quota)
    for _ in range(3):
        asyncio.run(reader._take(part(7, "0")))
    assert (len(taken), quota.strikes, link.done) == (1, 0, [])


def test_claims_of_two_streams_are_kept_apart():
    """Each member's stream counts for itself."""

    def stored(stream):
        message = part(7, "0")
        message.metadata.stream, message.acked = stream, []
        message.metadata.timestamp = None
        message.ack = message.in_progress = lambda: asyncio.sleep(0)
        return message

    async def play():
        link = NatsClient.__new__(NatsClient)
        link._claimed, link._loop = {}, asyncio.get_running_loop()
        assert [link.claim(stored(name)) for name in ("north", "south", "south")] == [0, 0, 1]
        link.acknowledger([stored("south")])()
        await asyncio.sleep(0.01)
        assert [place[:2] for place in link._claimed] == [("north", 7)]

    asyncio.run(play())


def test_attack_message_that_poses_as_an_answer_of_the_broker_is_struck():
    """A header `Status` is its sender's; without a strike it would be delivered for ever."""
    link, quota = Link(), Quota("south")

    def add(headers, content):
        raise BadPartError("no part")

    reader = Reader(link, "subject", SimpleNamespace(name="south", add=add), quota)
    asyncio.run(reader._take(part(1, "0", Status="404")))
    assert (quota.strikes, link.done) == (1, [1])


def test_attack_one_key_after_another_is_refused():
    """Each is written to disk, and has all that is open sealed and sent anew."""
    met = {}
    keys = SimpleNamespace(of=met.get, meet=met.__setitem__)
    sender = Reassembler(keys, "south", bytes(32))
    for number in range(MOST_KEYS):
        for _ in range(3):
            sender.meet(bytes([number]))
    with pytest.raises(BadPartError, match="one key after another"):
        sender.meet(b"another")
    assert met == {"south": bytes([MOST_KEYS - 1])}
    sender.meet(met["south"])


def test_attack_key_that_an_earlier_version_kept(tmp_path):
    """Nothing can be sealed under it, and it was checked by nobody: each start ended with it."""
    for _ in range(2):
        keys = RunKeys(tmp_path, SigningKey(bytes(range(32))), bytes(32), "coordinator")
        assert keys.of("south") is None
        keys._database.execute("INSERT OR REPLACE INTO others VALUES ('south', ?)", (bytes(32),))
        keys.close()


def test_attack_member_lacks_a_model_without_end():
    """The second time that it lacks what it was sent, this is its answer."""
    sent, lacking = [], m.encode(m.CacheMiss())
    question = Question("e.1.1", b"whole", 0.0, 1.0, 1.0, model=b"digest", named=True)
    transport = NatsTransport.__new__(NatsTransport)
    transport._batch = SimpleNamespace(open={"south": question}, answered=0)
    transport._holdings = SimpleNamespace(lacked=lambda party: None)
    transport._send = lambda party, question, message: sent.append(question.request)
    transport._ready, transport.watch = [], SimpleNamespace(answered=lambda party, size: None)
    for request in ("e.1.1", "e.1.1000001"):
        transport._accept([SimpleNamespace(party="south", request=request, body=lacking)])
    assert sent == ["e.1.1000001"]
    assert [delivery.message for delivery in transport._ready] == [lacking]
