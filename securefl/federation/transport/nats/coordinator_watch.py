"""A member's view of the coordinator: it answers heartbeats, and says what time it is.

Only a sign of life, which the broker could forge: nothing but status, page and log depend on it.
Without it, a member that waits cannot tell a coordinator that is frozen from one that computes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from securefl.federation.transport.faults import StandingFaults

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient, Part

PING: Final = "Securefl-Ping"
"""Header of a question whether the coordinator is there, which says nothing else."""
TOLERATED_SECONDS: Final = 300.0
"""Difference of two clocks, as of `SKEW` for the expiry of an agreement."""
_SILENT_SECONDS: Final = 7.0
_LEAST_PAUSE: Final = 0.2
_TRIES: Final = 3
_STATUS: Final = "Status"
_NO_RESPONDERS: Final = "503"


def sign_of_life() -> bytes:
    """Return the coordinator's answer to a heartbeat."""
    return json.dumps({"at": time.time()}).encode()


def read_sign(content: bytes) -> float | None:
    """Return the coordinator's clock, seconds since the epoch; None for what is no answer."""
    try:
        at = float(json.loads(content[:64])["at"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return at if math.isfinite(at) else None


class Answers:
    """How often the coordinator answers each sender: a flood of heartbeats makes no other flood."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    async def give(self, link: NatsClient, message: Msg) -> None:
        """Answer a heartbeat that asks for it."""
        now = time.monotonic()
        if not message.reply or now - self._last.get(message.subject, -_LEAST_PAUSE) < _LEAST_PAUSE:
            return
        self._last[message.subject] = now
        await link.client.publish(message.reply, sign_of_life())


class CoordinatorWatch:
    """What a member knows of the coordinator.

    Args:
        faults: Is told where the coordinator is silent, or another time is there.
        connected: Returns whether the broker answers; without it nothing is known.
        now: Returns this machine's clock, seconds since the epoch.

    Attributes:
        heard: When it answered last, seconds since the epoch; None before.
        ahead: Seconds by which this machine's clock is ahead of the coordinator's; None before.
    """

    def __init__(
        self,
        faults: StandingFaults,
        connected: Callable[[], bool | None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.heard: float | None = None
        self.ahead: float | None = None
        self._faults, self._connected, self._now = faults, connected, now
        self._asked = self._answered = time.monotonic()

    async def beat(
        self,
        link: NatsClient,
        subject: str,
        every: Callable[[], float],
        said: Callable[[], Part],
    ) -> None:
        """Publish a heartbeat every few seconds, for good, and hear the answers."""
        reply = f"{link.inbox}.answers"
        await link.subscribed(reply, self.hear)
        while True:
            with contextlib.suppress(NatsError, OSError):
                self.look()
                if link.connected:
                    headers, content = said()
                    await link.client.publish(subject, content, reply=reply, headers=headers)
            await asyncio.sleep(every())

    async def hear(self, message: Msg) -> None:
        """Take an answer, or the broker's word that nobody is there to answer."""
        if (message.headers or {}).get(_STATUS) == _NO_RESPONDERS:
            self._faults.begin("coordinator", "coordinator-absent")
            return
        at = read_sign(message.data)
        if at is None:
            return
        self._answered, self.heard = time.monotonic(), self._now()
        self.ahead = self.heard - at
        self._faults.end("coordinator")
        if abs(self.ahead) > TOLERATED_SECONDS:
            self._faults.begin("clock", "clock")
        else:
            self._faults.end("clock")

    def look(self) -> None:
        """Say that the coordinator is silent, where the broker answers and it does not."""
        now = time.monotonic()
        before, self._asked = self._asked, now
        if not self._connected() or now - before > _SILENT_SECONDS:
            # Nothing is known of the time without a line, or in which this process stood still.
            self._answered = now
            return
        silent = now - self._answered > _SILENT_SECONDS
        if silent and self._faults.code("coordinator") != "coordinator-absent":
            self._faults.begin("coordinator", "coordinator-silent")


async def ask(link: NatsClient, subject: str, seconds: float) -> float | None:
    """Return the coordinator's clock, for a party that takes no part now.

    Args:
        link: A member's connection.
        subject: The subject of the member's heartbeats.
        seconds: How long its answer is waited for.

    Returns:
        Seconds since the epoch; None where no coordinator answers.
    """
    # Again, since of two heartbeats at once the coordinator answers one.
    for _ in range(_TRIES):
        try:
            answer = await link.client.request(subject, b"", seconds / _TRIES, headers={PING: "1"})
        except TimeoutError:
            continue
        except (NatsError, OSError):
            return None
        return read_sign(answer.data)
    return None
