"""Reading from a consumer: parts become messages, which wait to be acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from securefl.federation.transport.nats.chunking import (
    OPEN_MESSAGES,
    Envelope,
    Reassembler,
    message_key,
    numbers,
)
from securefl.federation.transport.nats.part_errors import (
    BadPartError,
    OtherRunError,
    TooLargeError,
)
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import CHUNK_BYTES

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient

_log = logging.getLogger(__name__)
_PULL, _PULL_SECONDS = 8, 5.0
"""Parts of the pulls of one connection, and one of each sender at least: fewer bytes than a broker
buffers for a client (64 MiB). Else it ends, again and again, a connection that is slower than its
disk."""
_PAUSE, _REST = 0.2, 1.0
_STATUS = "Status"
_NO_RESPONDERS, _NOTHING_NEW = "503", {"404", "408", "100"}
_UNREAD = 8
"""Complete messages that wait to be acted on; more stay on the broker until these are."""


@dataclass(frozen=True)
class Arrival:
    """A received message.

    Attributes:
        note: The message, opened.
        acknowledge: Tells the broker to delete the message, because it is on our own disk.
    """

    note: Envelope
    acknowledge: Callable[[], None] = field(repr=False)


class Reader:
    """The pulling from one sender's consumer, a few parts at a time, so that memory is bounded."""

    def __init__(
        self,
        link: NatsClient,
        subject: str,
        sender: Reassembler,
        quota: Quota,
        purge: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        """Start without parts; `pull` does the work.

        Args:
            link: The connection.
            subject: The subject of pull requests.
            sender: The one sender of the consumer's messages.
            quota: What the sender may send that is of no use.
            purge: Deletes all that waits on the broker, where we may.
        """
        self._link, self._subject, self._sender, self._quota = link, subject, sender, quota
        self._parts: dict[tuple[str, ...], dict[int, Msg]] = {}
        self._left, self._begun = 0, False
        self._purge, self._rests = purge, False
        self._again, self._anew = asyncio.Event(), True
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._unread = asyncio.Semaphore(_UNREAD)

    def _next_batch(self) -> int:
        """Return the parts of the next pull: the more senders, the fewer."""
        # Of the first pull one: not all readers of the connection are there.
        share = _PULL // len(self._link.readers) if self._begun else 1
        self._begun = True
        return max(1, share)

    async def pull(self) -> None:
        """Pull parts, and pull again when they have arrived or the request has expired.

        Of a sender that is cut off nothing is pulled; afterwards nothing of that time.
        """
        client = self._link.client
        while True:
            await self._until_admitted()
            async with self._unread:
                self._again.clear()
                self._left = self._next_batch()
                request = {"batch": self._left, "expires": int(_PULL_SECONDS * 1e9)}
                with contextlib.suppress(NatsError, OSError):
                    await self._listen()
                    content = json.dumps(request).encode()
                    await client.publish(self._subject, content, reply=self._inbox)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._again.wait(), _PULL_SECONDS + 1)

    def reconnected(self) -> None:
        """Pull anew: a broker that was restarted knows nothing of requests before."""
        self._anew = True
        self._again.set()

    async def _listen(self) -> None:
        """Listen on an inbox that is new with each connection.

        Where the broker still knows the request of an earlier one, it is dropped with its inbox;
        else there were one more of them after each connection, for good.
        """
        if not self._anew:
            return
        self._anew, former = False, self._subscription
        client = self._link.client
        inbox = client.new_inbox()
        try:
            self._subscription = await client.subscribe(
                inbox, cb=self._take, pending_bytes_limit=-1
            )
        except (NatsError, OSError):
            self._anew = True
            raise
        self._inbox = inbox
        if former is not None:
            with contextlib.suppress(NatsError, OSError):
                await former.unsubscribe()

    async def _until_admitted(self) -> None:
        """Wait while the sender is cut off, and a little where it is in another run."""
        if self._rests:
            # That is no strike, and must not take more of the line than this either.
            self._rests = False
            await asyncio.sleep(_REST)
        if not self._quota.reason:
            return
        while self._quota.reason:
            await asyncio.sleep(_REST)
        # Else what waits of its flood would have it cut off again at once.
        self._link.acknowledger([part for held in self._parts.values() for part in held.values()])()
        self._parts.clear()
        if self._purge is not None:
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                await self._purge()

    async def _take(self, message: Msg) -> None:
        headers = message.headers or {}
        # Not by a header that only the broker should send: a sender can, and then its messages
        # would be neither acknowledged nor counted.
        if not message.reply:
            await self._end_pull(headers)
            return
        self._left -= 1
        if self._left <= 0:
            self._again.set()
        self._link.faults.end("store", "store-gone")
        again = self._link.claim(message)
        if again and message_key(headers) not in self._parts:
            return  # complete, and waiting to be acted on: it is acknowledged then
        await self._add(message, headers)

    async def _end_pull(self, headers: Mapping[str, str]) -> None:
        status = headers.get(_STATUS)
        if status == _NO_RESPONDERS:
            self._link.faults.begin("store", "store-gone")
        elif status in _NOTHING_NEW:
            self._link.faults.end("store", "store-gone")
        if status not in _NOTHING_NEW:
            await asyncio.sleep(_PAUSE)
        self._again.set()

    async def _add(self, message: Msg, headers: Mapping[str, str]) -> None:
        try:
            note = self._sender.add(headers, message.data)
        except OtherRunError as error:
            self._link.acknowledger([message])()
            self._rests = True
            self._quota.other_run(error)
            return
        except BadPartError as error:
            # Acknowledged all the same: the broker would redeliver it for ever.
            too_large = isinstance(error, TooLargeError)
            held = self._parts.pop(message_key(headers), {}) if too_large else {}
            self._link.acknowledger([*held.values(), message])()
            self._quota.strike(f"{error}; it is dropped", len(message.data))
            return
        key = message_key(headers)
        self._hold(self._parts.setdefault(key, {}), numbers(headers)[0], message)
        while len(self._parts) > OPEN_MESSAGES:
            left = [*self._parts.pop(next(iter(self._parts))).values()]
            self._link.acknowledger(left)()
            why = f"{self._sender.name} left a message incomplete; it is dropped"
            self._quota.strike(why, CHUNK_BYTES * len(left))
        if note is not None:
            await self._arrived(note, self._all_of(key))

    def _hold(self, parts: dict[int, Msg], place: int, message: Msg) -> None:
        """Keep what acknowledges a part; its content is with the reassembler."""
        size, message.data = len(message.data), b""
        twin = parts.get(place)
        if twin is None or twin.metadata.sequence.stream == message.metadata.sequence.stream:
            parts[place] = message
            return
        # Else one part, said again and again, would be held as often as the broker stores it.
        self._link.acknowledger([message])()
        self._quota.strike(f"{self._sender.name} sent a part twice; it is dropped", size)

    async def _arrived(self, note: Envelope, parts: list[Msg]) -> None:
        """Hand a message on, and pull no more while too many wait to be acted on."""
        acknowledge, loop = self._link.acknowledger(parts), asyncio.get_running_loop()
        await self._unread.acquire()

        def read() -> None:
            acknowledge()
            loop.call_soon_threadsafe(self._unread.release)

        self._link.arrivals.put(Arrival(note, read))

    def _all_of(self, key: tuple[str, ...]) -> list[Msg]:
        """Return the parts of a message, and those of earlier attempts of a sender that died."""
        same = [other for other in self._parts if other[0] == key[0]]
        return [part for other in same for part in self._parts.pop(other).values()]


def reason(error: BaseException | None) -> str:
    """Return class and text of an error in one line; errors of nats-py often have no text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
