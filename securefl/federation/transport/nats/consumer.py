"""Reading from a consumer: parts become messages, which wait to be acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from securefl.federation.transport.nats.chunking import (
    ID_HEADER,
    OPEN_MESSAGES,
    SALT_HEADER,
    BadPartError,
    Envelope,
    Reassembler,
)
from securefl.federation.transport.nats.quota import Quota

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient

_log = logging.getLogger(__name__)
_PULL, _PULL_SECONDS = 8, 5.0
"""Parts of one pull: fewer bytes than a broker buffers for a client (64 MiB)."""
_PAUSE = 0.2
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

    def __init__(self, link: NatsClient, subject: str, sender: Reassembler, quota: Quota) -> None:
        """Start without parts; `pull` does the work.

        Args:
            link: The connection.
            subject: The subject of pull requests.
            sender: The one sender of the consumer's messages.
            quota: What the sender may send that is of no use.
        """
        self._link, self._subject, self._sender, self._quota = link, subject, sender, quota
        self._parts: dict[tuple[str, str], list[Msg]] = {}
        self._left = 0
        self._again = asyncio.Event()
        self._unread = asyncio.Semaphore(_UNREAD)

    async def pull(self) -> None:
        """Pull parts, and pull again when they have arrived or the request has expired.

        Ends when the sender is cut off.
        """
        client = self._link.client
        inbox = client.new_inbox()
        await client.subscribe(inbox, cb=self._take, pending_bytes_limit=-1)
        request = {"batch": _PULL, "expires": int(_PULL_SECONDS * 1e9)}
        while not self._quota.reason:
            async with self._unread:
                self._again.clear()
                self._left = _PULL
                with contextlib.suppress(NatsError, OSError):
                    await client.publish(self._subject, json.dumps(request).encode(), reply=inbox)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._again.wait(), _PULL_SECONDS + 1)

    async def _take(self, message: Msg) -> None:
        headers = message.headers or {}
        if not message.reply or _STATUS in headers:
            await self._end_pull(headers)
            return
        self._left -= 1
        if self._left <= 0:
            self._again.set()
        self._link.faults.end("store", "store-gone")
        self._link.claim(message)
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
        except BadPartError as error:
            # Acknowledged all the same: the broker would redeliver it for ever.
            self._link.acknowledger([message])()
            self._quota.strike(f"{error}; it is dropped")
            return
        key = (headers.get(ID_HEADER, ""), headers.get(SALT_HEADER, ""))
        self._parts.setdefault(key, []).append(message)
        while len(self._parts) > OPEN_MESSAGES:
            self._link.acknowledger(self._parts.pop(next(iter(self._parts))))()
            self._quota.strike(f"{self._sender.name} left a message incomplete; it is dropped")
        if note is not None:
            await self._arrived(note, self._all_of(key))

    async def _arrived(self, note: Envelope, parts: list[Msg]) -> None:
        """Hand a message on, and pull no more while too many wait to be acted on."""
        acknowledge, loop = self._link.acknowledger(parts), asyncio.get_running_loop()
        await self._unread.acquire()

        def read() -> None:
            acknowledge()
            loop.call_soon_threadsafe(self._unread.release)

        self._link.arrivals.put(Arrival(note, read))

    def _all_of(self, key: tuple[str, str]) -> list[Msg]:
        """Return the parts of a message, and those of earlier attempts of a sender that died."""
        same = [other for other in self._parts if other[0] == key[0]]
        return [part for other in same for part in self._parts.pop(other)]


def reason(error: BaseException | None) -> str:
    """Return class and text of an error in one line; errors of nats-py often have no text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
