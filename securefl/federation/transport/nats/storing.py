"""Sending until the broker has stored it, over as many connections and as much time as that takes.

A broker whose disk is full says nothing at all: it takes the message, answers everything else, and
never acknowledges. So an acknowledgement that is missing after the broker has answered a later
question is itself the sign of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from securefl.federation.transport.nats.broker_faults import code_of_answer
from securefl.federation.transport.nats.complaints import Complaints
from securefl.federation.transport.nats.consumer import reason

if TYPE_CHECKING:
    from securefl.federation.transport.nats.connection import NatsClient, Part

_log = logging.getLogger(__name__)
_STORED_SECONDS = 60.0
_SUSPECT_SECONDS = 3.0
"""Without an acknowledgement, after which the broker is asked whether it has the message at all."""
_IN_FLIGHT = 2
"""Parts of one message that are in flight at a time."""
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Store:
    """The way of a party's messages into the broker's store.

    Args:
        link: The connection.
    """

    def __init__(self, link: NatsClient) -> None:
        self._link, self._complaints = link, Complaints()
        self._reconnected = asyncio.Event()

    async def reconnected(self) -> None:
        """Have what waits for an acknowledgement sent again: over the old connection none comes."""
        self._reconnected.set()
        self._reconnected.clear()

    async def send(self, subject: str, parts: Iterator[Part]) -> None:
        """Send a message; returns when the broker has stored all of it."""
        # A slow line must not be filled with parts that wait for each other until they time out.
        await asyncio.gather(*(self._in_turn(subject, parts) for _ in range(_IN_FLIGHT)))

    async def _in_turn(self, subject: str, parts: Iterator[Part]) -> None:
        for part in parts:
            await self._insist(subject, *part)

    async def _insist(self, subject: str, headers: dict[str, str], content: bytes) -> None:
        """Publish one part until the broker acknowledges it; it stores an id once."""
        faults = self._link.faults
        for attempt in range(1 << 30):
            try:
                error = await self._publish(subject, headers, content)
                if error is None:
                    faults.end("store")
                    self._complaints.over()
                    return
                self._complaints.say(str(error.get("description")))
                if code := code_of_answer(error):
                    faults.begin("store", code)
            except NoRespondersError:
                faults.begin("store", "store-gone")
            except (NatsError, OSError, TimeoutError, ValueError) as failed:
                _log.info("broker: a message is sent again (%s)", reason(failed))
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])

    async def _publish(
        self, subject: str, headers: dict[str, str], content: bytes
    ) -> dict[str, Any] | None:
        """Return the broker's error; None where it has stored the part."""
        request = self._link.client.request(subject, content, _STORED_SECONDS, headers=headers)
        answer: dict[str, Any] = json.loads((await self._answer(request)).data)
        return answer.get("error")

    async def _answer(self, request: Coroutine[Any, Any, Msg]) -> Msg:
        """Return the broker's answer; it is no longer waited for once it cannot come."""
        asked = asyncio.ensure_future(request)
        anew = asyncio.ensure_future(self._reconnected.wait())
        doubt = asyncio.ensure_future(self._suspect())
        try:
            await asyncio.wait({asked, anew, doubt}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            # Said again, since the stream may be another one by then; an id is stored once.
            raise TimeoutError("the connection is a new one, or nothing is stored")
        finally:
            for task in (asked, anew, doubt):
                task.cancel()

    async def _suspect(self) -> None:
        """End, and say so, where the broker answers what was asked after the message alone."""
        await asyncio.sleep(_SUSPECT_SECONDS)
        # Answered after the message was read, however slow the line is.
        while not await self._link.line.trip(_STORED_SECONDS):
            await asyncio.sleep(_SUSPECT_SECONDS)
        await asyncio.sleep(_SUSPECT_SECONDS)
        self._link.faults.begin("store", "store-stuck")


async def kept(link: NatsClient, subject: str, seconds: float) -> str:
    """Return the fault that keeps the broker from storing a message; empty for none.

    Args:
        link: The connection.
        subject: A subject of a stream. An empty message is left there, which its reader drops.
        seconds: How long an acknowledgement is waited for.
    """
    try:
        answer = await link.client.request(subject, b"", seconds)
        error = json.loads(answer.data).get("error")
    except NoRespondersError:
        return "store-gone"
    except (NatsError, OSError, TimeoutError, ValueError):
        return "store-stuck"
    return "" if error is None else code_of_answer(error) or "store-full"
