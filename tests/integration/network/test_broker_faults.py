"""Faults of the broker, played with a real one: named within ten seconds, with what to do."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("nats")

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.keys.nkeys import BrokerKey
from securefl.consortium.keys.tls_certificates import create_authority, issue_broker
from securefl.federation.transport.base import EngineError
from securefl.federation.transport.faults import FAULTS, StandingFaults
from securefl.federation.transport.nats.broker_faults import code_of
from securefl.federation.transport.nats.chunking import Envelope
from securefl.federation.transport.nats.connection import BrokerAddress, NatsClient
from securefl.federation.transport.nats.coordinator_watch import (
    Answers,
    CoordinatorWatch,
    read_sign,
)
from securefl.federation.transport.nats.dev_broker import Broker
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.store_watch import StoreWatch
from securefl.federation.transport.nats.subjects import Layout
from securefl.federation.transport.nats.transport import StreamRepair
from securefl.federation.transport.session_keys import RunKeys
from support.broker_world import PASSPHRASE, TODAY, World
from support.brokers import free_port, plain_configuration
from support.small_disk import fill, make_room, small_disk

LAYOUT = Layout("x")
TEN = 10.0


class Place:
    """A broker on the loopback interface, and a party with its faults."""

    def __init__(self, folder, more=""):
        self.folder, self.port = folder, free_port()
        self.store = folder / "jetstream"
        self.file = folder / "broker.conf"
        text = plain_configuration(self.store, self.port)
        self.file.write_text(text.replace(f'"{self.store}" }}', f'"{self.store}" {more} }}'))
        self.faults = StandingFaults()
        self.keys = RunKeys(folder / "keys", generate_key(), bytes(32), "coordinator")
        self.other = RunKeys(folder / "other", generate_key(), bytes(32), "north")
        self.keys.meet("north", self.other.own.public)

    def link(self, seconds=10.0):
        address = BrokerAddress(f"nats://127.0.0.1:{self.port}")
        return NatsClient(address, LAYOUT.inbox("coordinator"), seconds, self.faults)

    def send(self, link, size=10):
        note = Envelope("coordinator", "north", f"{time.monotonic_ns()}", "", os.urandom(size))
        link.send(LAYOUT.to_member("north"), note, self.keys)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.keys.close()
    made.other.close()


def named(faults, where, code, seconds=TEN):
    """The fault is named in time; returns how long that took."""
    begun = time.monotonic()
    while faults.code(where) != code:
        assert time.monotonic() - begun < seconds, (faults.standing(), where, code)
        time.sleep(0.02)
    assert all(FAULTS[one.code].todo for one in faults.standing())
    return time.monotonic() - begun


def streams(place, link, renewed=list):
    watch = StoreWatch(link, LAYOUT, ["north"], renewed)
    link.run(watch.make())
    return watch


def test_a_broker_that_is_down_is_named(place):
    """Also while a party waits for it the first time, and not only at the end of its patience."""
    with pytest.raises(EngineError, match="no connection"):
        place.link(0.5)
    assert place.faults.code("connection") == "refused"


def test_the_broker_is_handed_no_environment(place, monkeypatch):
    """A passphrase in it would be readable in another process."""
    monkeypatch.setenv("SECUREFL_PASSPHRASE", "of this process alone")
    with Broker(place.file, place.port) as broker:
        handed = Path(f"/proc/{broker.pid}/environ").read_bytes().split(b"\0")
    assert {one.split(b"=")[0] for one in handed if one} == {b"PATH"}


def test_a_broker_that_stops_is_named_and_its_return(place):
    with Broker(place.file, place.port) as broker, place.link() as link:
        link.run(link.line.look())
        assert link.line.connected is True
        broker.kill()
        named(place.faults, "connection", "refused")
        assert link.line.connected is False
        broker.start_again()
        named(place.faults, "connection", "")
        link.run(link.line.look())
        assert link.line.connected is True


@pytest.mark.slow
def test_messages_arrive_soon_after_a_restart(place):
    """A reader pulls anew at once, and no more requests are open than before."""
    with Broker(place.file, place.port) as broker, place.link() as link:
        streams(place, link)
        sender = SimpleNamespace(name="north")
        link.read(LAYOUT.up("north"), "north", sender, Quota("north"))
        for _ in range(3):
            broker.kill()
            broker.start_again()
            named(place.faults, "connection", "")
            begun = time.monotonic()
            while link.run(waiting(link)) != 1:
                assert time.monotonic() - begun < 3.0
                time.sleep(0.05)


@pytest.mark.slow
def test_a_broker_that_froze_is_named(place):
    """Its connections stay open and say nothing: "connected" is not known any more."""
    with Broker(place.file, place.port) as broker, place.link() as link:
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            named(place.faults, "connection", "timeout")
            until = time.monotonic() + TEN
            while link.line.connected is True:
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        named(place.faults, "connection", "")


def test_a_full_store_is_named_and_empties(tmp_path):
    """What the broker did not take is sent again, as soon as there is room: nobody restarts."""
    place = Place(tmp_path, ", max_file_store: 1MB")
    with Broker(place.file, place.port), place.link() as link:
        streams(place, link)
        for _ in range(5):  # the limit is looked at before a message, and not after it
            place.send(link, 400_000)
        named(place.faults, "store", "store-full")
        link.run(link.client.jetstream().purge_stream(LAYOUT.down("north")))
        assert link.flush(TEN)
        assert place.faults.code("store") == ""
    place.keys.close()
    place.other.close()


@pytest.mark.slow
def test_a_broker_with_a_full_disk_is_named(place):
    """It answers everything but what is to be stored, until it is restarted or repaired."""
    with small_disk(place.store), Broker(place.file, place.port) as broker, place.link() as link:
        streams(place, link)
        fill(place.store)
        place.send(link, 100_000)
        named(place.faults, "store", "store-stuck")
        make_room(place.store)
        broker.kill()
        broker.start_again()
        assert link.flush(TEN)
        assert place.faults.code("store") == ""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_full_disk_needs_no_restart(place, way):
    """A stream that cannot be written is named, though its sender is another party, and made anew.

    Another stream, which was written all the time, keeps what is in it.
    """
    subject = LAYOUT.to_member("north") if way == "down" else LAYOUT.from_member("north")
    with small_disk(place.store), Broker(place.file, place.port), place.link() as link:
        renewed = []
        store = streams(place, link)
        repair = StreamRepair(link, LAYOUT, ["north"], store, lambda: renewed.append(1))
        other = LAYOUT.from_member("north") if way == "down" else LAYOUT.to_member("north")
        kept = Envelope("coordinator", "north", "kept", "", b"kept")
        link.send(other, kept, place.keys)
        assert link.flush(TEN)
        link.run(repair.look())
        assert place.faults.code("streams") == ""
        fill(place.store)
        note = Envelope("coordinator", "north", "late", "", os.urandom(100_000))
        link.send(subject, note, place.keys)
        link.spawn(repair.watch())
        named(place.faults, "streams", "store-stuck")
        assert len(place.faults.standing()) == 1
        make_room(place.store)
        assert link.flush(20.0)
        named(place.faults, "streams", "")
        assert renewed
        assert stored_in(link, subject) == stored_in(link, other) == 1


async def waiting(link):
    """Pulls of the coordinator that are open at the broker."""
    return (await link.client.jetstream().consumer_info(LAYOUT.up("north"), "north")).num_waiting


def stored_in(link, subject):
    """Messages that wait on a subject."""
    name = LAYOUT.down("north") if ".to." in subject else LAYOUT.up("north")
    return link.run(link.client.jetstream().stream_info(name)).state.messages


@pytest.mark.slow
def test_a_message_said_again_ends_an_old_sending(place):
    """While nothing is stored, no more than two of one message wait, however often it is said."""
    with small_disk(place.store), Broker(place.file, place.port), place.link() as link:
        streams(place, link)
        fill(place.store)
        for _ in range(20):
            note = Envelope("coordinator", "north", "one", "", os.urandom(100_000))
            link.send(LAYOUT.to_member("north"), note, place.keys)
        time.sleep(0.2)
        assert sorted(map(len, link._sending.values())) == [2]
        assert link._unstored == 2


def test_a_broker_that_was_emptied_gets_its_streams_again(place):
    """Nobody restarts but the broker: the coordinator sees that its streams are gone."""
    renewed = []
    with Broker(place.file, place.port) as broker, place.link() as link:
        watch = streams(place, link, lambda: renewed.append(place.faults.code("store")))
        broker.kill()
        shutil.rmtree(place.store)
        broker.start_again()
        named(place.faults, "connection", "")
        place.send(link)
        named(place.faults, "store", "store-gone")
        link.run(watch.look())
        assert renewed == ["store-gone"]
        assert link.flush(TEN)
        assert place.faults.code("store") == ""


def test_a_member_that_waits_sees_that_streams_are_gone(world):
    """It only reads, and is told so by its pulls; when they are there, that is over."""
    faults = StandingFaults()
    with (
        Broker(world.config, world.port),
        world.link("coordinator") as hub,
        world.link("north", 10.0, faults) as link,
    ):
        for stream in (world.layout.down("north"), world.layout.up("north")):
            with contextlib.suppress(EngineError, APIError):
                hub.run(hub.client.jetstream().delete_stream(stream))
        sender = SimpleNamespace(name="coordinator")
        link.read(world.layout.down("north"), "north", sender, Quota("coordinator", most=None))
        named(faults, "store", "store-gone")
        hub.run(StoreWatch(hub, world.layout, ["north"], list).make())
        link.run(link.client.request(world.layout.from_member("north"), b"", 5))
        named(faults, "store", "")


def test_a_broker_without_jetstream_is_named(place):
    text = place.file.read_text()
    place.file.write_text(text[: text.index("jetstream")])
    with Broker(place.file, place.port), place.link() as link:
        link.run(StoreWatch(link, LAYOUT, ["north"], list).look())
        assert place.faults.code("store") == "jetstream-off"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A broker as an agreement configures it, which each test starts for itself."""
    keys = {name: generate_key() for name in ("north", "south", "west")}
    return World(tmp_path_factory.mktemp("world"), keys, generate_key())


def refused(world, code):
    """A member that connects is told this, and what to do."""
    faults = StandingFaults()
    with pytest.raises(EngineError, match="no connection"):
        world.link("north", 1.0, faults)
    assert faults.code("connection") == code


@contextlib.contextmanager
def certificate(world, issue):
    """Another certificate at the broker, within the block."""
    files = [world.folder / name for name in ("broker.pem", "broker.key")]
    kept = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()  # no key is ever overwritten
    issue()
    try:
        with Broker(world.config, world.port):
            yield
    finally:
        for file, content in zip(files, kept, strict=True):
            file.write_bytes(content)


HOSTS = ("127.0.0.1",)
AGO = TODAY - timedelta(days=5)


def test_an_expired_certificate_is_named(world):
    with certificate(world, lambda: issue_broker(world.folder, HOSTS, PASSPHRASE, AGO, 2)):
        refused(world, "tls-expired")


def test_a_certificate_for_another_name_is_named(world):
    other = ("elsewhere.example",)
    with certificate(world, lambda: issue_broker(world.folder, other, PASSPHRASE, AGO, 30)):
        refused(world, "tls-name")


@pytest.mark.slow
def test_a_certificate_of_another_authority_is_named(world, tmp_path):
    """Who renewed it without the authority of the agreement, or is in the middle."""

    def strange():
        create_authority(tmp_path, "other", PASSPHRASE, AGO)
        issue_broker(tmp_path, HOSTS, PASSPHRASE, AGO, 30)
        for name in ("broker.pem", "broker.key"):
            (world.folder / name).write_bytes((tmp_path / name).read_bytes())

    with certificate(world, strange):
        refused(world, "tls-untrusted")


def test_a_broker_of_an_older_agreement_is_named(world, tmp_path):
    """It knows another key of this member: ours is refused."""
    old, new = BrokerKey(world.keys["north"]).public, BrokerKey(generate_key()).public
    other = tmp_path / "nats-server.conf"
    other.write_text(world.config.read_text().replace(old, new))
    with Broker(other, world.port):
        refused(world, "auth")


def test_a_login_that_takes_too_long_blames_no_key():
    """A broker gives two seconds for it, which a slow line or a busy machine can exceed."""
    assert code_of(NatsError("nats: 'Authentication Timeout'")) == "timeout"
    assert code_of(NatsError("nats: 'Authorization Violation'")) == "auth"


def test_a_member_is_told_whether_a_coordinator_is_there(world):
    """By the broker itself, over the accounts that keep them apart; and when there is one."""
    subject, beats, faults = world.layout.beat("north"), [], StandingFaults()
    with Broker(world.config, world.port), world.link("north", 10.0, faults) as link:
        link.run(link.line.look())
        watch = CoordinatorWatch(faults, lambda: link.line.connected)
        link.spawn(watch.beat(link, subject, lambda: 0.1, lambda: ({}, b"here")))
        named(faults, "coordinator", "coordinator-absent")
        with world.link("coordinator") as ear:
            ear.listen_for_beats(subject, beats.append, Quota("north"))
            named(faults, "coordinator", "")
            assert beats[-1][1] == b"here"
            assert abs(watch.ahead) < 2
            assert not ear.said_wrong  # its rights cover the answer


def test_a_frozen_coordinator_is_named_by_members():
    """Connected, and silent for seven seconds while the broker answers: nothing is wrong here."""
    faults = StandingFaults()
    watch = CoordinatorWatch(faults, lambda: True)
    watch.look()
    assert faults.standing() == []
    watch._answered -= 8
    watch.look()
    assert faults.code("coordinator") == "coordinator-silent"
    assert "nothing is wrong here" in FAULTS["coordinator-silent"].todo
    answer(watch, {"at": time.time()})
    assert faults.standing() == []


def test_a_member_without_a_line_blames_no_coordinator():
    """Nor one that was frozen itself."""
    faults, there = StandingFaults(), [None]
    watch = CoordinatorWatch(faults, lambda: there[0])
    watch._answered -= 60
    watch.look()
    there[0] = True
    watch._answered -= 60
    watch._asked -= 60
    watch.look()
    assert faults.standing() == []


def test_a_flood_of_heartbeats_makes_no_flood_of_answers():
    """Five a second of one sender, each to the reply subject that the broker shows."""
    sent = []

    async def publish(subject, content):
        sent.append((subject, read_sign(content)))

    async def flood():
        answers, link = Answers(), SimpleNamespace(client=SimpleNamespace(publish=publish))
        for reply in ("_R_.a", "", *["_R_.a"] * 50):
            await answers.give(link, Msg(_client=Client(), subject="beat", reply=reply))

    asyncio.run(flood())
    assert [subject for subject, _ in sent] == ["_R_.a"]
    assert sent[0][1] == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("wrong", [400.0, -400.0])
def test_a_clock_that_differs_is_named_while_a_member_runs(wrong):
    faults = StandingFaults()
    watch = CoordinatorWatch(faults, lambda: True)
    answer(watch, {"at": time.time() + wrong})
    assert faults.code("clock") == "clock"
    assert watch.ahead == pytest.approx(-wrong, abs=5)
    answer(watch, {"at": time.time()})
    assert faults.standing() == []


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"at": "x"}', b'{"at": 1e999}', b'{"at": NaN}', b"\xff" * 99]
)
def test_what_is_no_answer_of_a_coordinator_says_nothing(content):
    assert read_sign(content) is None


def answer(watch, tree):
    message = Msg(_client=Client(), data=json.dumps(tree).encode())
    asyncio.run(watch.hear(message))


@pytest.mark.slow
def test_one_question_shows_which_streams_there_are(place):
    """However many members: two for each of 100, every 3 s, were 67 a second."""
    names = [f"m{number}" for number in range(12)]
    with Broker(place.file, place.port), place.link() as link:
        again = []
        watch = StoreWatch(link, LAYOUT, names, lambda: again.append(1))
        link.run(watch.make())
        asked, request = [], link.client.request

        def noted(subject, *details, **named):
            asked.append(subject)
            return request(subject, *details, **named)

        link.client.request = noted
        link.run(watch.look())
        assert asked == ["$JS.API.STREAM.NAMES"]
        assert not again
        link.run(link.client.jetstream().delete_stream(LAYOUT.up("m7")))
        link.run(watch.look())
        assert again == [1]
        assert not place.faults.code("store")
