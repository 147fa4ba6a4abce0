"""A member that floods the coordinator is cut off by name, and the rounds of the others go on."""

import os
import time

import pytest

from securefl.federation.transport.journalled import COORDINATOR_NAME
from securefl.federation.transport.nats import chunking
from securefl.federation.transport.nats.chunking import ID_HEADER, SALT_HEADER, Envelope
from securefl.federation.transport.nats.heartbeats import BEAT
from securefl.federation.transport.nats.quota import MOST_STRIKES, Quota

MESSAGES = 1200
"""More than a broker's default of messages that one consumer has not acknowledged."""


def half_messages(end, id_of):
    """First parts of messages in two parts, properly sealed, whose second part never comes."""
    keys = end.keys
    for number in range(MESSAGES):
        note = Envelope(end.name, COORDINATOR_NAME, id_of(number), "none", b"")
        public, salt = keys.of(COORDINATOR_NAME), os.urandom(16)
        lock = chunking._lock(keys, public, note, (keys.own.public, public, salt))
        headers = {ID_HEADER: note.id, chunking._ANSWERS: note.answers, SALT_HEADER: salt.hex()}
        yield headers | keys.headers | {chunking.PART_HEADER: "0/2"}, lock.seal(0, 2, b"z")


def flood_of(end, kind):
    """Subject, headers and content of each message of a flood."""
    layout = end.run.layout
    up, beat = layout.from_member(end.name), layout.beat(end.name)
    if kind == "halves of many messages":
        yield from ((up, *part) for part in half_messages(end, lambda number: f"x.{number}"))
    if kind == "halves of heartbeats":
        yield from ((beat, *part) for part in half_messages(end, lambda number: BEAT))
    if kind == "answers to nothing":
        for number in range(MESSAGES):
            note = Envelope(end.name, COORDINATOR_NAME, f"x.{number}", "9.9.9", b"z")
            yield from ((up, *part) for part in note.parts(end.keys))
    if kind == "no messages":
        yield from ((up, {"Nats-Msg-Id": f"x{number}"}, b"z") for number in range(MESSAGES))
    if kind == "large heartbeats":
        yield from ((beat, {}, bytes(1 << 20)) for _ in range(MESSAGES // 4))


class Flooding:
    """A wrap for a member that sends a flood before its second answer."""

    def __init__(self, kind):
        self.kind = kind

    def __call__(self, end):
        send, said = end.link.send, []

        def flooding(subject, note, keys):
            said.append(note.id)
            if len(said) == 2:
                end.link.run(self._flood(end), 60)
            send(subject, note, keys)

        end.link.send = flooding

    async def _flood(self, end):
        client = end.link.client
        for subject, headers, content in flood_of(end, self.kind):
            await client.publish(subject, content, headers=dict(headers))
        await client.flush(timeout=30)


@pytest.mark.parametrize(
    "kind",
    [
        "halves of many messages",
        pytest.param("halves of heartbeats", marks=pytest.mark.slow),
        pytest.param("answers to nothing", marks=pytest.mark.slow),
        pytest.param("no messages", marks=pytest.mark.slow),
        pytest.param("large heartbeats", marks=pytest.mark.slow),
    ],
)
def test_attack_flood_of_one_member_stops_no_other(stage, kind):
    """Also after a restart of the coordinator, which finds the flood on the broker."""
    scene = stage.set(rounds=3, pause=0.5)
    flooding = scene.names[0]
    stage.start_all(wraps={flooding: Flooding(kind)})
    stage.wait_round(1)
    stage.processes["coordinator"].kill()
    stage.processes["coordinator"].join()
    stage.start("coordinator")
    started = time.monotonic()
    lines = stage.finish()
    assert time.monotonic() - started < 60
    assert all(set(scene.names[1:]) <= set(line["survivors"]) for line in lines)
    assert f"{flooding} is cut off" in stage.tail("coordinator")


def test_strikes_are_forgiven_by_useful_messages(caplog):
    """Copies that slow lines make add up to nothing; a flood is one line at each doubling."""
    quota = Quota("north")
    for _ in range(10):
        for _ in range(MOST_STRIKES):
            quota.strike("a copy")
        quota.used()
    assert not quota.reason
    caplog.clear()
    for _ in range(10 * MOST_STRIKES):
        quota.strike("a copy")
    assert "north is cut off" in quota.reason
    assert len(caplog.records) < 20
    quota.used()
    assert quota.reason
