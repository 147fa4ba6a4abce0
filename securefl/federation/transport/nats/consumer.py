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
    SALT_HEADER,
    BadPartError,
    Envelope,
    Reassembler,
)

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient

_log = logging.getLogger(__name__)
_PULL, _PULL_SECONDS = 8, 5.0
"""Parts of one pull: fewer bytes than a broker buffers for a client (64 MiB)."""
_PAUSE = 0.2
_STATUS = "Status"
_INCOMPLETE = 256
"""Incomplete messages of all senders at a time; the oldest is dropped first."""


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
    """The pulling from a consumer, a few parts at a time, so that memory stays bounded."""

    def __init__(self, link: NatsClient, subject: str, senders: Mapping[str, Reassembler]) -> None:
        """Start without parts; `pull_for_good` does the work.

        Args:
            link: The connection.
            subject: The subject of pull requests.
            senders: Subject to the one sender that may use it.
        """
        self._link, self._subject, self._senders = link, subject, senders
        self._parts: dict[tuple[str, str, str], list[Msg]] = {}
        self._left = 0
        self._again = asyncio.Event()

    async def pull_for_good(self) -> None:
        """Pull parts, and pull again when they have arrived or the request has expired."""
        client = self._link.client
        inbox = client.new_inbox()
        await client.subscribe(inbox, cb=self._take, pending_bytes_limit=-1)
        request = {"batch": _PULL, "expires": int(_PULL_SECONDS * 1e9)}
        while True:
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
        self._link.claim(message)
        await self._add(message, headers)

    async def _end_pull(self, headers: Mapping[str, str]) -> None:
        if headers.get(_STATUS) not in {"404", "408", "100"}:
            await asyncio.sleep(_PAUSE)
        self._again.set()

    async def _add(self, message: Msg, headers: Mapping[str, str]) -> None:
        sender = self._senders.get(message.subject)
        try:
            if sender is None:
                raise BadPartError(f"no known party sends on {message.subject}")
            note = sender.add(headers, message.data)
        except BadPartError as error:
            # Acknowledged all the same: the broker would redeliver it for ever.
            _log.warning("%s; it is dropped", error)
            self._link.acknowledger([message])()
            return
        key = (message.subject, headers.get(ID_HEADER, ""), headers.get(SALT_HEADER, ""))
        self._parts.setdefault(key, []).append(message)
        while len(self._parts) > _INCOMPLETE:
            self._link.acknowledger(self._parts.pop(next(iter(self._parts))))()
        if note is not None:
            self._link.arrivals.put(Arrival(note, self._link.acknowledger(self._all_of(key))))

    def _all_of(self, key: tuple[str, str, str]) -> list[Msg]:
        """Return the parts of a message, and those of earlier attempts of a sender that died."""
        same = [other for other in self._parts if other[:2] == key[:2]]
        return [part for other in same for part in self._parts.pop(other)]


def reason(error: BaseException | None) -> str:
    """Return class and text of an error in one line; errors of nats-py often have no text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
