"""The coordinator's end on a broker: what listens to the members, and keeps the streams writable.

Where a write of a stream fails, JetStream never writes to that stream again, also when there is
room: it says so to none of those who publish, and answers everything else. The broker's restart
ends that, and so does another stream of the same name. What was under way in the old one is asked
again, as after a lost store.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, cast

from nats.errors import Error as NatsError

from securefl.federation.transport.base import EngineError
from securefl.federation.transport.journalled import JournalledTransport
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.nats.heartbeats import Heartbeats
from securefl.federation.transport.nats.lease import Lease
from securefl.federation.transport.nats.store_watch import (
    LOOK_SECONDS,
    StoreWatch,
    look_for_good,
    purge,
)
from securefl.federation.transport.nats.subjects import COORDINATOR, Layout, token

_log = logging.getLogger(__name__)
_SECONDS = 5.0
_LONGEST_PAUSE = 30.0
"""Between two tries, while the disk stays full: each has all that is open sent again."""
_AT_ONCE = 20
"""Streams that are looked at each time, so that a large consortium is no load on its broker."""
_PURGE_FAILED: Final = 10051
"""JetStream's code of a purge that could not be written."""
_NOTHING: Final = json.dumps({"filter": "securefl.nothing"}).encode()
"""A purge of no message: all are of other subjects. A stream that cannot write fails at it too."""
_PURGE_SECONDS = 5.0


class StreamRepair:
    """The coordinator's look at whether its streams can be written.

    Args:
        link: The coordinator's connection.
        layout: The names of its streams.
        members: The members.
        store: Makes the streams that are not there.
        renewed: Called when streams were made anew.
    """

    def __init__(
        self,
        link: NatsClient,
        layout: Layout,
        members: Sequence[str],
        store: StoreWatch,
        renewed: Callable[[], None],
    ) -> None:
        self._link, self._store, self._renewed = link, store, renewed
        self._streams = [
            *chain.from_iterable((layout.down(name), layout.up(name)) for name in members)
        ]
        self._pause, self._next, self._missing = LOOK_SECONDS, 0.0, False
        self._turn, self._stuck = 0, False

    async def watch(self) -> None:
        """Look at the streams for good."""
        await look_for_good(self._link, self.look)

    async def look(self) -> None:
        """Name the fault where a stream cannot be written, and make such streams anew."""
        faults = self._link.faults
        try:
            broken = await self._broken()
            if not broken and not self._missing:
                self._pause, self._stuck = LOOK_SECONDS, False
                faults.end("streams")
                return
            self._stuck = True
            # Not the place of a sender: one that gets its message stored says nothing of others.
            faults.begin("streams", "store-stuck")
            if time.monotonic() >= self._next:
                await self._make_anew(broken)
        except (TimeoutError, NatsError, OSError, ValueError) as error:
            _log.info("broker: its streams cannot be looked at (%s)", type(error).__name__)

    async def _broken(self) -> list[str]:
        """Return the streams that cannot be written, of some in turn, or of all if one is."""
        first = self._turn % len(self._streams)
        self._turn = first + _AT_ONCE
        found: list[str] = []
        if not self._stuck:
            some = self._streams[first : self._turn]
            found = [stream for stream in some if await self._is_broken(stream)]
        if found or self._stuck:
            found = [stream for stream in self._streams if await self._is_broken(stream)]
        return found

    async def _is_broken(self, stream: str) -> bool:
        answer = await self._api("PURGE", stream, _NOTHING)
        error = answer.get("error")
        # Of a stream that is not there: `StoreWatch` makes it.
        return error is not None and error.get("err_code") == _PURGE_FAILED

    async def _make_anew(self, broken: Sequence[str]) -> None:
        # A stream that is made on a full disk breaks again; the longer that lasts, the rarer.
        self._next = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        for stream in broken:
            self._missing = True  # also where what follows fails, for want of room
            await self._api("DELETE", stream)
        await self._store.make()
        self._missing = False
        _log.warning("%d streams could not be written; they are made anew", len(broken))
        self._renewed()

    async def _api(self, verb: str, stream: str, content: bytes = b"") -> dict[str, dict[str, int]]:
        subject = f"$JS.API.STREAM.{verb}.{stream}"
        answer = await self._link.client.request(subject, content, _SECONDS)
        found = json.loads(answer.data)
        if not isinstance(found, dict) or not isinstance(found.get("error", {}), dict):
            raise ValueError("no answer of JetStream")
        return found


class NatsTransport(JournalledTransport):
    """What a NATS broker carries, in a stream for each member and direction."""

    def _listen(self) -> None:
        layout, link = self._run.layout, cast("NatsClient", self._link)
        Lease(link, layout.lease(COORDINATOR)).take()
        names = list(self._run.members)
        store = StoreWatch(link, layout, names, self._renewed.set)
        link.run(store.make())
        link.spawn(store.watch())
        link.spawn(StreamRepair(link, layout, names, store, self._renewed.set).watch())
        Heartbeats(self._keys, self._run.members, self.watch, self._quotas).listen(link, layout)
        for name in names:
            link.read(layout.up(name), token(name), self._reader(name), self._quotas[name])

    def _withdraw(self, party: str) -> None:
        link = cast("NatsClient", self._link)
        with contextlib.suppress(EngineError):  # a broker that cannot delete stops nobody
            link.run(purge(link, self._run.layout.down(party)), _PURGE_SECONDS)
