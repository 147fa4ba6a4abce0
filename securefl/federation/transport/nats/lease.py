"""One process of a party at a time: the others of the same key hear of it, and stop.

A process announces itself on a subject that only its own party can use, and again every few
seconds. One that starts asks there first, and is refused while another answers; it takes over from
one that is gone or frozen. A frozen process that comes back hears its successor, and stops.

This keeps mistakes apart, not attacks: a party's own processes are not each other's adversaries.
That no answer is given twice is ensured by journal and ledger, whatever happens here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from securefl.federation.transport.base import EngineError

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient

_EVERY, _LEAST = 3.0, 0.5
_STARTING: Final = "starting"
_HOLDING: Final = "holding"


class Lease:
    """The place of a party's one process.

    Args:
        link: The process's connection.
        subject: The party's own; see `Layout.lease`.
    """

    def __init__(self, link: NatsClient, subject: str) -> None:
        self._link, self._subject = link, subject
        self._id, self._state, self._begun = os.urandom(8).hex(), _STARTING, time.time()
        self._refused = False

    def take(self) -> None:
        """Take the place, and keep it as long as the connection is open.

        Raises:
            EngineError: If another process has it, or the broker does not answer.
        """
        seconds = _LEAST + 4 * self._link.round_trip()
        self._link.run(self._ask(seconds), seconds + 30)
        if self._refused:
            raise EngineError("another process with this key is connected; stop it first")
        self._state, self._begun = _HOLDING, time.time()
        self._link.spawn(self._announce_for_good())

    async def _ask(self, seconds: float) -> None:
        await self._link.client.subscribe(self._subject, cb=self._hear)
        await self._announce()
        await asyncio.sleep(seconds)

    async def _announce(self) -> None:
        said = {"id": self._id, "state": self._state, "begun": self._begun}
        with contextlib.suppress(NatsError, OSError):
            await self._link.client.publish(self._subject, json.dumps(said).encode())

    async def _announce_for_good(self) -> None:
        while True:
            await self._announce()
            await asyncio.sleep(_EVERY)

    async def _hear(self, message: Msg) -> None:
        other = _read(message.data)
        if other is None or other["id"] == self._id:
            return
        if self._state == _STARTING:
            # Of two that start at once, the one of the smaller id goes on, and the other hears it.
            if other["state"] == _HOLDING or other["id"] < self._id:
                self._refused = True
            else:
                await self._announce()
        elif other["state"] == _STARTING:
            await self._announce()
        elif (other["begun"], other["id"]) > (self._begun, self._id):
            self._link.arrivals.put(EngineError("another process with this key took over"))


def _read(data: bytes) -> dict[str, Any] | None:
    """Return an announcement; None for what is none."""
    try:
        said = json.loads(data)
        return {"id": str(said["id"]), "state": said["state"], "begun": float(said["begun"])}
    except (ValueError, KeyError, TypeError):
        return None
