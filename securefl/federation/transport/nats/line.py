"""The line to the broker: whether it answers now, looked at every two seconds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient

_EVERY = 2.0
_ANSWER_SECONDS = 4.0
_FRESH_SECONDS = 8.0
_LONGEST = 3600


class Line:
    """What is known of the line.

    Args:
        link: The connection.

    Attributes:
        heard: When the broker answered last, seconds since the epoch; None before.
    """

    def __init__(self, link: NatsClient) -> None:
        self._link = link
        self.heard: float | None = None
        self._answered: float | None = None
        self._trips: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool | None:
        """Whether the broker is reachable: it is not, or it answered; None where it is unknown."""
        if not self._link.connected:
            return False
        if self._answered is None or time.monotonic() - self._answered > _FRESH_SECONDS:
            return None
        return True

    async def watch(self) -> None:
        """Look at the line for good."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Ask the broker for a sign of life."""
        faults = self._link.faults
        if not self._link.connected:
            if not faults.code("connection"):
                faults.begin("connection", "lost")
            return
        if not await self.trip(_ANSWER_SECONDS):
            if self._link.connected:
                faults.begin("connection", "timeout")
            return
        self._answered, self.heard = time.monotonic(), time.time()
        faults.end("connection")

    async def trip(self, seconds: float | None = None) -> bool:
        """Return whether the broker has read all that was sent so far, and answered in time."""
        # Not cancelled when the time is over: nats-py fails at the answer to a question that was.
        task = asyncio.ensure_future(self._link.client.flush(timeout=_LONGEST))
        self._trips.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=seconds)
        return task.done() and not task.cancelled() and task.exception() is None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._trips.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that it is no warning

    def reconnected(self) -> None:
        """Forget the questions that were asked over an earlier connection."""
        for task in list(self._trips):
            task.cancel()
