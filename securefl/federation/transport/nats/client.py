"""The library's client: where it connects, and how little of others' headers it reads.

All that the broker sends is read in one loop. An exception there ends the loop until three pings
have had no answer, and what takes long there keeps everybody waiting; the library reads headers
in it, before a subscription could refuse their message.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nats.aio.client import Client

LARGEST_HEADERS = 8 << 10
"""Bytes; ours have less than one KiB. A broker carries as many as it carries content."""


class Login(Protocol):
    """The identity with which a party logs in at the broker."""

    @property
    def public(self) -> str:
        """The public key as the broker's configuration names it."""

    def seed(self) -> str:
        """Return the private key in NATS's spelling, for the library that signs with it."""


@dataclass(frozen=True)
class BrokerAddress:
    """The broker's address, and how it is authenticated.

    Attributes:
        url: `tls://host:port`, or `nats://host:port` where nothing leaves the machine.
        authority: Certificate of the authority that signed the broker's; required for TLS.
        login: Our key at the broker; None for a broker without logins.
    """

    url: str
    authority: Path | None = None
    login: Login | None = None

    def tls(self) -> ssl.SSLContext | None:
        """Return the context of the connection; TLS 1.3 with the consortium's authority alone."""
        if self.authority is None:
            return None
        context = ssl.create_default_context(cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


class CarefulClient(Client):
    """A client that takes headers which are too large, or which are none, for absent."""

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        if not headers or len(headers) > LARGEST_HEADERS:
            return None
        try:
            return await super()._process_headers(headers)
        except (IndexError, ValueError):
            return None

    async def abandon(self) -> None:
        """Drop at once what a closing that was cut short has left; the other side may be gone."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        await asyncio.sleep(0)
