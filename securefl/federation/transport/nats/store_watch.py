"""The coordinator's eye on the broker's store: streams that are lost are made again.

A broker that was restarted with an empty disk has neither streams nor messages, and says so only to
those who ask. Nobody else can make the streams; so the coordinator looks every few seconds, and
what was asked and not answered is then asked again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.errors import APIError, BadRequestError

from securefl.federation.transport.nats.broker_faults import code_of
from securefl.federation.transport.nats.subjects import STREAM_NAMES, Layout

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient

_log = logging.getLogger(__name__)
LOOK_SECONDS, _SECONDS = 3.0, 5.0


_NONE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading an answer ends with that is none of JetStream's."""


async def look_for_good(link: NatsClient, look: Callable[[], Awaitable[None]]) -> None:
    """Look every few seconds while the broker is reachable, as long as the connection is open."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if link.connected:
            await look()


class StoreWatch:
    """The streams of a consortium, as long as the connection is open.

    Args:
        link: The coordinator's connection.
        layout: The names of its streams.
        members: The members, who have a consumer in each.
        renewed: Called when streams were lost and are there again.
    """

    def __init__(
        self,
        link: NatsClient,
        layout: Layout,
        members: Sequence[str],
        renewed: Callable[[], None],
    ) -> None:
        self._link, self._layout, self._members = link, layout, members
        self._renewed = renewed
        self._needed = {name for one in members for name in (layout.down(one), layout.up(one))}

    async def make(self) -> None:
        """Make the streams and their consumers, or bring them up to date."""
        jetstream, layout = self._link.client.jetstream(), self._layout
        for stream in chain.from_iterable(map(layout.streams, self._members)):
            try:
                await jetstream.add_stream(stream)
            except BadRequestError:
                await jetstream.update_stream(stream)
        for member in self._members:
            await jetstream.add_consumer(layout.down(member), layout.member_consumer(member))
            await jetstream.add_consumer(layout.up(member), layout.coordinator_consumer(member))

    async def watch(self) -> None:
        """Look at the streams for good."""
        await look_for_good(self._link, self.look)

    async def look(self) -> None:
        """Compare what is there with what has to be, and make what is missing."""
        faults = self._link.faults
        try:
            if not self._needed <= await self._there():
                faults.begin("store", "store-gone")
                await self.make()
                _log.warning("the broker had lost the run's streams; they are there again")
                self._renewed()
            faults.end("store", "store-gone", "jetstream-off")
        except (TimeoutError, NatsError, OSError, *_NONE) as error:
            self._failed(error)  # also where the broker's answer is none

    async def _there(self) -> set[str]:
        """Return the streams that are there: one question for all, a second one above 1,024."""
        found: set[str] = set()
        while True:
            asked = json.dumps({"offset": len(found), "subject": self._layout.messages}).encode()
            answer = await self._link.client.request(STREAM_NAMES, asked, _SECONDS)
            said = json.loads(answer.data)
            if "error" in said:
                APIError.from_error(said["error"])
            page = set(said.get("streams") or ()) - found
            found |= page
            if not page or len(found) >= int(said["total"]):
                return found

    def _failed(self, error: Exception) -> None:
        if not self._link.connected:
            return  # that is a fault of the connection
        code = "jetstream-off" if isinstance(error, APIError) else code_of(error)
        if code == "timeout" and not self._link.line.connected:
            return
        # The line works, and JetStream alone does not answer.
        self._link.faults.begin("store", "store-stuck" if code == "timeout" else "jetstream-off")


async def purge(link: NatsClient, stream: str) -> None:
    """Delete what has not been read of a stream."""
    await link.client.jetstream().purge_stream(stream)


async def broker_clock(link: NatsClient, stream: str) -> float | None:
    """Return the broker's clock, seconds since the epoch; None where it does not say it.

    It says it with the description of a stream, which the coordinator alone may ask for.

    Args:
        link: The coordinator's connection.
        stream: Name of one of the run's streams.
    """
    try:
        answer = await link.client.request(f"$JS.API.STREAM.INFO.{stream}", b"", 5.0)
        return datetime.fromisoformat(str(json.loads(answer.data)["ts"])).timestamp()
    except (NatsError, OSError, TimeoutError, ValueError, KeyError):
        return None
