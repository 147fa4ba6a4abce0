"""Heartbeats of others: heard as they come, answered, and not carried from one that is cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from securefl.federation.transport.nats.coordinator_watch import Answers
from securefl.federation.transport.nats.quota import Quota

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient, Part

_LOOK_SECONDS: Final = 1.0


class BeatListeners:
    """The senders whose heartbeats a connection listens for, by subject.

    Args:
        link: The connection; all of this runs on its event loop.
    """

    def __init__(self, link: NatsClient) -> None:
        self._link = link
        self._answers = Answers()
        self._heard: dict[str, Callable[[Part], None]] = {}
        self._quotas: dict[str, Quota] = {}
        self._subscriptions: dict[str, Subscription] = {}

    async def listen(self, subject: str, heard: Callable[[Part], None], quota: Quota) -> None:
        """Call `heard` for every heartbeat of a sender.

        Args:
            subject: The sender's subject.
            heard: Is given headers and content of each.
            quota: What the sender may send that is of no use.
        """
        self._heard[subject], self._quotas[subject] = heard, quota
        await self._subscribe(subject)

    async def flooded(self, subject: str) -> bool:
        """Strike a sender whose messages no longer fit the buffer; False if it is none of these."""
        if subject not in self._quotas:
            return False
        self._quotas[subject].strike(f"a flood of messages on {subject}")
        await self._leave_if_cut_off(subject)
        return True

    async def _subscribe(self, subject: str) -> None:
        self._subscriptions[subject] = await self._link.subscribed(subject, self._take)

    async def _take(self, message: Msg) -> None:
        subject = message.subject
        # Also of one that is cut off, which would take the coordinator for frozen.
        await self._answers.give(self._link, message)
        if self._quotas[subject].reason:
            return
        self._heard[subject]((message.headers or {}, message.data))
        await self._leave_if_cut_off(subject)

    async def _leave_if_cut_off(self, subject: str) -> None:
        """Unsubscribe from a sender that is cut off, or its flood would still be carried here."""
        if not self._quotas[subject].reason or subject not in self._subscriptions:
            return
        with contextlib.suppress(NatsError, OSError):
            await self._subscriptions.pop(subject).unsubscribe()
        self._link.begin(self._listen_again(subject))

    async def _listen_again(self, subject: str) -> None:
        """Listen to a sender once it is cut off no longer."""
        while self._quotas[subject].reason or not self._link.connected:
            await asyncio.sleep(_LOOK_SECONDS)
        await self._subscribe(subject)
