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
"""Parts that are asked for at a time: fewer bytes than a broker buffers for a client (64 MiB)."""
_PAUSE = 0.2
_STATUS = "Status"
_INCOMPLETE = 256
"""Messages of all senders that may be incomplete at a time."""


@dataclass(frozen=True)
class Arrival:
    """A message that arrived.

    Attributes:
        note: The message, opened.
        acknowledge: Tells the broker that the message is on our own disk.
    """

    note: Envelope
    acknowledge: Callable[[], None] = field(repr=False)


class Reader:
    """Pulls from a consumer: a few parts at a time, so that a slow reader holds little memory."""

    def __init__(self, link: NatsClient, subject: str, senders: Mapping[str, Reassembler]) -> None:
        """Waits for `pull_for_good`.

        Args:
            link: The connection.
            subject: Where more parts are asked for.
            senders: Subject to whoever may use it.
        """
        self._link, self._subject, self._senders = link, subject, senders
        self._parts: dict[tuple[str, str, str], list[Msg]] = {}
        self._left = 0
        self._again = asyncio.Event()

    async def pull_for_good(self) -> None:
        """Ask for parts, and for more when they have come or nobody answers."""
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
                raise BadPartError(f"nobody we know speaks on {message.subject}")
            note = sender.add(headers, message.data)
        except BadPartError as error:
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
        """The parts of a message, and what is left of it from a sender that died over it."""
        same = [other for other in self._parts if other[:2] == key[:2]]
        return [part for other in same for part in self._parts.pop(other)]


def reason(error: BaseException | None) -> str:
    """Class and text of an error in one line; the library's often have no text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
