"""A real nats-server with the generated configuration: who gets in, and how far."""

import asyncio
import contextlib
import socket
import ssl

import pytest

nats = pytest.importorskip("nats")

from nats.errors import Error as NatsError  # noqa: E402
from nats.js.errors import NotFoundError  # noqa: E402

from securefl.consortium.agreement.signatures import signed_by  # noqa: E402
from securefl.consortium.keys.nkeys import BrokerKey  # noqa: E402
from securefl.consortium.keys.tls_certificates import create_authority  # noqa: E402
from securefl.errors import AgreementError  # noqa: E402
from securefl.federation.transport.nats.broker_config import (  # noqa: E402
    MAX_CONNECTIONS,
    write_broker_config,
)
from securefl.federation.transport.nats.dev_broker import Broker  # noqa: E402
from securefl.federation.transport.nats.subjects import MOST_STORED  # noqa: E402
from support.broker_world import PASSPHRASE, TODAY, World, declared  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory, keys, new_key):
    folder = tmp_path_factory.mktemp("broker")
    made = World(folder, keys, new_key("hub"))
    with Broker(made.config, made.port):
        asyncio.run(declared(made))
        yield made


async def pulled(world, client, stream, consumer):
    """The next message of a consumer, or None."""
    bound = await client.jetstream().pull_subscribe_bind(consumer, stream)
    try:
        (message,) = await bound.fetch(1, timeout=1)
    except (NatsError, TimeoutError):
        return None
    await message.ack_sync(timeout=1)
    return message.data


def test_members_and_coordinator_do_their_work_with_their_rights(world):
    async def work():
        hub, north = await world.connect("coordinator"), await world.connect("north")
        await hub.jetstream().publish(world.layout.to_member("north"), b"question")
        assert await pulled(world, north, world.layout.down("north"), "north") == b"question"
        await north.jetstream().publish(world.layout.from_member("north"), b"answer")
        assert await pulled(world, hub, world.layout.up("north"), "north") == b"answer"
        await hub.close()
        await north.close()

    asyncio.run(work())


def test_attack_member_reads_what_another_is_told(world):
    async def attack():
        problems = []
        hub = await world.connect("coordinator")
        south = await world.connect("south", problems=problems)
        await hub.jetstream().publish(world.layout.to_member("north"), b"for north")
        assert await pulled(world, south, world.layout.down("north"), "north") is None
        for subject in (world.layout.to_member("north"), world.layout.to_member("*"), ">"):
            await south.subscribe(subject)
        await south.subscribe(f"{world.layout.inbox('north')}.>")
        await south.flush()
        await asyncio.sleep(0.1)
        assert sum("permissions violation" in text for text in problems) >= 5
        north = await world.connect("north")
        assert await pulled(world, north, world.layout.down("north"), "north") == b"for north"
        for client in (hub, south, north):
            await client.close()

    asyncio.run(attack())


@pytest.mark.parametrize("subject", ["from_member", "to_member", "beat"])
def test_attack_member_speaks_in_anothers_name(world, subject):
    async def attack():
        problems = []
        south = await world.connect("south", problems=problems)
        await south.publish(getattr(world.layout, subject)("north"), b"forged")
        await south.flush()
        await asyncio.sleep(0.1)
        assert any("permissions violation for publish" in text for text in problems)
        hub = await world.connect("coordinator")
        assert await pulled(world, hub, world.layout.up("north"), "north") is None
        await south.close()
        await hub.close()

    asyncio.run(attack())


@pytest.mark.parametrize("verb", ["STREAM.PURGE", "STREAM.DELETE", "STREAM.INFO", "CONSUMER.LIST"])
def test_attack_member_administers_the_broker(world, verb):
    async def attack():
        problems = []
        south = await world.connect("south", problems=problems)
        with pytest.raises((NatsError, TimeoutError)):
            await south.request(f"$JS.API.{verb}.{world.layout.down('north')}", b"", timeout=0.3)
        assert any("permissions violation" in text for text in problems)
        await south.close()
        hub = await world.connect("coordinator")
        await hub.jetstream().stream_info(world.layout.down("north"))
        await hub.close()

    asyncio.run(attack())


def ways_out(world):
    """All ways in which a client can name a subject; each takes a client and the subject."""
    layout, pull = world.layout, f"$JS.API.CONSUMER.MSG.NEXT.{world.layout.down('south')}.south"
    own, ack = layout.from_member("south"), f"$JS.ACK.{layout.down('south')}.south.1.1.1.1.0"
    no_wait = b'{"batch": 1, "no_wait": true}'

    def headers(name, **others):
        return lambda client, subject: client.publish(own, b"x", headers={name: subject, **others})

    return {
        "subject": lambda client, subject: client.publish(subject, b"x"),
        "reply of a pull": lambda client, to: client.publish(pull, no_wait, reply=to),
        "reply of a message": lambda client, to: client.publish(own, b"x", reply=to),
        "reply of a heartbeat": lambda client, to: client.publish(
            layout.beat("south"), b"x", reply=to
        ),
        "reply of an acknowledgement": lambda client, to: client.publish(
            ack, b'+NXT {"batch": 1, "no_wait": true}', reply=to
        ),
        "trace": headers("Nats-Trace-Dest"),
        "trace alone": headers("Nats-Trace-Dest", **{"Nats-Trace-Only": "true"}),
        "schedule": headers(
            "Nats-Schedule-Target", **{"Nats-Schedule": "@at 2020-01-01T00:00:00Z"}
        ),
        "rollup": headers("Nats-Schedule-Target", **{"Nats-Rollup": "all"}),
        "source": headers("Nats-Stream-Source"),
    }


def forbidden(layout):
    """Subjects that no member may reach: others', the streams' administration, the server's."""
    streams = (layout.down("north"), layout.up("north"))
    yield from (layout.to_member("north"), layout.from_member("north"), layout.beat("north"))
    yield from (f"{layout.inbox('north')}.x", f"{layout.inbox('coordinator')}.x")
    verbs = ("STREAM.PURGE", "STREAM.DELETE", "STREAM.UPDATE", "STREAM.MSG.GET", "DIRECT.GET")
    yield from (f"$JS.API.{verb}.{stream}" for verb in verbs for stream in streams)
    for verb in ("DELETE", "CREATE", "INFO", "MSG.NEXT", "PAUSE"):
        yield from (f"$JS.API.CONSUMER.{verb}.{stream}.north" for stream in streams)
    yield f"$JS.ACK.{layout.down('north')}.north.1.1.1.1.0"
    yield from ("$SYS.REQ.SERVER.PING", "$JS.API.INFO", "$JS.API.STREAM.LIST")


async def counts(hub, layout):
    """Messages of each subject of all streams, and what their consumers have not acknowledged."""
    stream = hub.jetstream()
    kept = {}
    for member in ("north", "south"):
        for name in (layout.down(member), layout.up(member)):
            info = await stream.stream_info(name, subjects_filter=">")
            kept |= info.state.subjects or {}
    for name in (layout.down("north"), layout.up("north")):
        kept[f"consumer of {name}"] = (await stream.consumer_info(name, "north")).num_ack_pending
    return kept


WAYS = (
    "subject",
    "reply of a pull",
    "reply of a message",
    "reply of a heartbeat",
    "reply of an acknowledgement",
    "trace",
    "trace alone",
    "schedule",
    "rollup",
    "source",
)


@pytest.mark.parametrize("way", WAYS)
def test_attack_member_names_foreign_subjects(world, way):
    """In no field of a message: the broker changes nothing, and hands nothing to anyone else."""

    async def attack():
        heard = []

        async def hear(message):
            heard.append(message.subject)

        hub, south = await world.connect("coordinator"), await world.connect("south")
        north = await world.connect("north")
        await hub.subscribe(world.layout.beat("north"), cb=hear)
        for client, party in ((hub, "coordinator"), (north, "north")):
            await client.subscribe(f"{world.layout.inbox(party)}.x", cb=hear)
        for name in ("north", "south"):
            await hub.jetstream().publish(world.layout.to_member(name), b"question")
        await north.jetstream().publish(world.layout.from_member("north"), b"answer")
        before = await counts(hub, world.layout)
        for subject in forbidden(world.layout):
            await ways_out(world)[way](south, subject)
        await south.flush()
        await asyncio.sleep(0.2)
        after = await counts(hub, world.layout)
        # South may send what it likes in its own name, and acknowledge what it is told.
        own = dict.fromkeys((world.layout.from_member("south"), world.layout.to_member("south")), 0)
        assert before | own == after | own
        assert heard == []
        for client in (hub, south, north):
            await client.close()

    asyncio.run(attack())


def test_table_of_ways_is_complete(world):
    assert tuple(ways_out(world)) == WAYS


def test_full_subject_of_one_member_leaves_room_for_others(world):
    """What waits on one subject is limited; the broker refuses its sender alone."""

    async def attack():
        hub, south = await world.connect("coordinator"), await world.connect("south")
        north, layout = await world.connect("north"), world.layout
        before = (await counts(hub, layout)).get(layout.from_member("south"), 0)
        for number in range(MOST_STORED - before):
            await south.publish(layout.from_member("south"), b"x", headers={"n": str(number)})
        await south.flush()
        with pytest.raises(NatsError, match="maximum messages per subject"):
            await south.jetstream().publish(layout.from_member("south"), b"one more")
        await north.jetstream().publish(layout.from_member("north"), b"answer")
        for client in (hub, south, north):
            await client.close()

    asyncio.run(attack())


def test_connections_of_one_member_leave_room_for_others(world):
    """A member takes its own places alone."""

    async def attack():
        taken = [await world.connect("south") for _ in range(MAX_CONNECTIONS)]
        with pytest.raises(NatsError, match="maximum account active connections"):
            await world.connect("south")
        north = await world.connect("north")
        for client in (*taken, north):
            await client.close()

    asyncio.run(attack())


def test_attack_stranger_connects(world, new_key):
    with pytest.raises(NatsError, match=r"(?i)authorization"):
        asyncio.run(world.connect("north", key=new_key("stranger")))


def test_attack_rotated_key_connects(world, keys, new_key):
    """The broker knows the keys of the agreement that it was configured from, and no others."""
    with pytest.raises(NatsError, match=r"(?i)authorization"):
        asyncio.run(world.connect("west", key=new_key("west", 1)))


def test_attack_public_key_of_a_member_without_its_private_key(world, keys, new_key, monkeypatch):
    victim = BrokerKey(keys["north"]).public
    thief = new_key("mallory")

    class Borrowed(BrokerKey):
        def __init__(self, identity):
            super().__init__(identity)
            self.public = victim

    monkeypatch.setattr("support.broker_world.BrokerKey", Borrowed)
    with pytest.raises(NatsError, match=r"(?i)authorization"):
        asyncio.run(world.connect("north", key=thief))


def test_attack_broker_with_a_certificate_of_another_authority(world, tmp_path):
    create_authority(tmp_path, "grocers", PASSPHRASE, TODAY, 30)
    with pytest.raises((NatsError, ssl.SSLError)):
        asyncio.run(world.connect("north", authority=(tmp_path / "ca.pem").read_text()))


def test_attack_connection_without_tls(world):
    """Not even the server's greeting is said in the clear; it hangs up on whoever goes on so."""
    with socket.create_connection(("127.0.0.1", world.port), timeout=5) as plain:
        plain.sendall(b'CONNECT {"verbose":true}\r\nPING\r\n')
        heard = b""
        with contextlib.suppress(ConnectionError):
            while part := plain.recv(1 << 16):
                heard += part
    for said in (b"INFO", b"PONG", b"+OK"):
        assert said not in heard


def test_a_broker_is_configured_only_from_an_agreement_in_force(world, tmp_path, keys):
    four = {name: key for name, key in keys.items() if name != "west"}
    with pytest.raises(AgreementError, match="missing: west"):
        write_broker_config(tmp_path, signed_by(world.agreement, four), tmp_path, TODAY)
    assert not list(tmp_path.iterdir())


def test_not_even_the_coordinator_sees_what_is_not_of_this_consortium(world):
    async def look():
        hub = await world.connect("coordinator")
        with pytest.raises((NatsError, NotFoundError, TimeoutError)):
            await hub.request("$JS.API.STREAM.INFO.another", b"", timeout=0.3)
        await hub.close()

    asyncio.run(look())


@pytest.mark.slow
def test_a_coordinator_of_many_members_hears_them_all(tmp_path, new_key):
    """Its subscriptions are two of each member: a limit for one party's would cut it off at 31."""
    names = [f"member-{number}" for number in range(70)]
    world = World(tmp_path, {name: new_key(name) for name in names}, new_key("hub"))

    async def hear(message):
        del message

    with Broker(world.config, world.port), world.link("coordinator") as hub:
        for name in names:
            hub.run(hub.subscribed(world.layout.beat(name), hear))
            hub.run(hub.subscribed(f"{hub.inbox}.{name}", hear))
        hub.round_trip()
        assert hub.connected
        assert not hub.said_wrong
