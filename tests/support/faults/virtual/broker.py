"""A broker in virtual time: it stores until acknowledged, over lines that lose, repeat and mix up.

It keeps the two promises that the parties rest on: a message id is stored once, and what was not
acknowledged is delivered again. All else is left to chance: how long a message takes, in which
order messages arrive, and how often each of them does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from securefl.federation.transport.nats.connection import Part
from securefl.federation.transport.nats.subjects import ACK_SECONDS
from support.faults.virtual.world import World

_RETRY = 0.5
"""Seconds after which a sender sends again what was not stored."""
_AGAIN = 0.05
"""Part of acknowledgements that are lost, on any line."""


@dataclass
class Line:
    """The way between a party and the broker.

    Attributes:
        delay: Mean seconds of a message.
        loss: Part of the messages that are lost, each way.
        twice: Part of those that arrive twice.
        rate: Bytes a second; 0 for any number.
        cut: Until when it is cut.
    """

    delay: float = 0.005
    loss: float = 0.0
    twice: float = 0.0
    rate: float = 0.0
    cut: float = 0.0
    _free: float = field(default=0.0, repr=False)

    def seconds(self, world: World, size: int) -> float:
        """Return how long a message takes now: long ones wait for each other on a slow line."""
        taken = world.draw.expovariate(1 / self.delay)
        if self.rate:
            self._free = max(self._free, world.now) + size / self.rate
            taken += self._free - world.now
        return taken


@dataclass(eq=False)
class Stored:
    """A message on the broker; `held` says that a reader has it and has not acknowledged it."""

    part: Part
    held: bool = False
    gone: bool = False


@dataclass(eq=False)
class Reader:
    """A process that reads from a subject."""

    line: Line
    take: Callable[[Stored], None]
    reading: bool = True


class VirtualBroker:
    """Subjects with stored messages.

    Attributes:
        down: Until when it is not there.
        published: Number of messages that were stored.
    """

    def __init__(self, world: World) -> None:
        self.world, self.down, self.published = world, 0.0, 0
        self._kept: defaultdict[str, list[Stored]] = defaultdict(list)
        self._ids: set[str] = set()
        self._readers: defaultdict[str, list[Reader]] = defaultdict(list)

    def reachable(self, line: Line) -> bool:
        """Return whether a party hears and is heard."""
        return self.world.now >= max(self.down, line.cut)

    def publish(self, subject: str, part: Part, line: Line) -> None:
        """Store a message, and send it again until that is sure."""
        headers, content = part
        world = self.world
        lost = world.draw.random() < line.loss

        def arrive() -> None:
            stored = self.reachable(line) and not lost
            if stored:
                self._store(subject, part)
            if not stored or world.draw.random() < _AGAIN:  # the answer to the sender is lost
                world.after(_RETRY, lambda: self.publish(subject, part, line))

        world.after(line.seconds(world, len(content) + len(str(headers))), arrive)

    def _store(self, subject: str, part: Part) -> None:
        name = part[0]["Nats-Msg-Id"]
        if name in self._ids:
            return
        self._ids.add(name)
        self.published += 1
        self._kept[subject].append(Stored(part))
        self.deliver(subject)

    def read(self, subject: str, reader: Reader) -> None:
        """Deliver a subject's messages to a reader, those that wait first."""
        self._readers[subject].append(reader)
        self.deliver(subject)

    def leave(self, subject: str, reader: Reader) -> None:
        """Deliver what a reader held to others."""
        reader.reading = False
        self._readers[subject].remove(reader)

    def deliver(self, subject: str) -> None:
        """Send out all that no reader has."""
        for stored in self._kept[subject]:
            if not stored.held and self._readers[subject]:
                self._send(subject, stored, self.world.draw.choice(self._readers[subject]))

    def _send(self, subject: str, stored: Stored, reader: Reader) -> None:
        world, line = self.world, reader.line
        stored.held = True
        copies = 1 + (world.draw.random() < line.twice)
        for _ in range(copies):
            if world.draw.random() >= line.loss:
                seconds = line.seconds(world, len(stored.part[1]))
                world.after(seconds, lambda: self._arrive(stored, reader))
        world.after(ACK_SECONDS, lambda: self._check(subject, stored))

    def _arrive(self, stored: Stored, reader: Reader) -> None:
        if reader.reading and self.reachable(reader.line):
            reader.take(stored)

    def _check(self, subject: str, stored: Stored) -> None:
        """Deliver again what nobody acknowledged in time."""
        if not stored.gone:
            stored.held = False
            if self.reachable(Line()) and self._readers[subject]:
                self.deliver(subject)
            else:
                self.world.after(ACK_SECONDS, lambda: self._check(subject, stored))

    def acknowledge(self, subject: str, stored: Stored, line: Line) -> None:
        """Delete a message, unless the word is lost."""
        if self.reachable(line) and self.world.draw.random() >= line.loss:
            stored.gone = True
            self._kept[subject] = [one for one in self._kept[subject] if one is not stored]

    def purge(self, subject: str) -> None:
        """Delete all of a subject."""
        for stored in self._kept.pop(subject, []):
            stored.gone = True

    def waiting(self) -> int:
        """Return the bytes of all that is stored."""
        return sum(len(one.part[1]) for kept in self._kept.values() for one in kept)
