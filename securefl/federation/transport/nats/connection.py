"""A synchronous NATS client of one party, over a thread with an event loop.

A message is sent until the broker has stored it, over as many connections as that takes; an
arriving message stays on the broker until it is acknowledged. This file knows no message's content.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Self, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from securefl.federation.transport.base import EngineError
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.client import BrokerAddress, CarefulClient
from securefl.federation.transport.nats.consumer import Arrival, Reader, reason
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import ACK_SECONDS
from securefl.federation.transport.session_keys import RunKeys

ResultT = TypeVar("ResultT")
Part = tuple[dict[str, str], bytes]
"""Headers and content of one NATS message."""
_log = logging.getLogger(__name__)
_STORED_SECONDS = 60.0
_IN_FLIGHT = 2
"""Parts of one message that are in flight at a time."""
_BEAT_BYTES = 64 << 10
"""Heartbeats of one sender that wait to be read; one has some hundred bytes."""
_LOOK_SECONDS = 1.0
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class NatsClient:
    """A party's connection, which reconnects by itself as long as it is open.

    Attributes:
        arrivals: Received messages, in order; an exception ends the connection.
        said_wrong: The broker's last complaints.
    """

    def __init__(self, address: BrokerAddress, inbox: str, timeout: float = 10.0) -> None:
        """Connect.

        Args:
            address: The broker.
            inbox: Prefix of our reply subjects.
            timeout: Seconds within which the first connection has to succeed.

        Raises:
            EngineError: If it does not; one line with the reason.
        """
        self.arrivals: queue.Queue[Arrival | Exception] = queue.Queue()
        self.said_wrong: deque[str] = deque(maxlen=16)
        self._address, self._inbox = address, inbox
        self._claimed: dict[tuple[str, int], Msg] = {}
        self._quotas: dict[str, Quota] = {}
        self._beats: dict[str, Subscription] = {}
        self._ears: dict[str, Callable[[Msg], Coroutine[Any, Any, None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client: Client = CarefulClient()
        self._trouble = ""
        self._unstored = 0
        self._reconnected = asyncio.Event()
        self._run(self._connect(timeout))

    @property
    def client(self) -> Client:
        """The library's client, for the code that creates streams; only inside `run`."""
        return self._client

    @property
    def connected(self) -> bool:
        """Whether the broker is reachable now."""
        return bool(self._client.is_connected)

    def run(self, work: Coroutine[Any, Any, ResultT], seconds: float = 30.0) -> ResultT:
        """Run work on the event loop and wait for it.

        Raises:
            EngineError: If it fails, or takes too long.
        """
        try:
            return self._run(work, seconds)
        except (NatsError, OSError, TimeoutError) as error:
            raise EngineError(f"the broker refused: {reason(error)}") from None

    def _run(self, work: Coroutine[Any, Any, ResultT], seconds: float | None = None) -> ResultT:
        future: Future[ResultT] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds)

    async def _connect(self, timeout: float) -> None:
        """Connect within `timeout` seconds; the library alone would retry forever."""
        self._client = CarefulClient()
        try:
            await asyncio.wait_for(self._client.connect(**self._options()), timeout)
        except (NatsError, OSError, TimeoutError) as error:
            why = self._trouble or reason(error)
            raise EngineError(f"no connection to {self._address.url}: {why}") from None
        except ModuleNotFoundError as error:
            # nats-py imports what signs the broker's challenge only when it connects.
            raise EngineError(f"no login without {error.name}: install securefl[network]") from None
        self._trouble = ""
        self._spawn(self._claim_for_good())

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "servers": [self._address.url],
            "inbox_prefix": self._inbox,
            "allow_reconnect": True,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.25,
            "connect_timeout": 5,
            "ping_interval": 5,
            "max_outstanding_pings": 2,
            "pending_size": 64 << 20,
            "error_cb": self._on_error,
            "reconnected_cb": self._on_reconnected,
        }
        context = self._address.tls()
        if context is not None:
            # Before the broker's greeting: one that asks for no TLS would be answered in the clear,
            # with a signature that logs somebody else in.
            options |= {"tls": context, "tls_handshake_first": True}
        if self._address.login is not None:
            options["nkeys_seed_str"] = self._address.login.seed()
        return options

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError) and error.subject in self._quotas:
            self._quotas[error.subject].strike(f"a flood of messages on {error.subject}")
            await self._unless_cut_off(error.subject)
            return
        self._trouble = reason(error)
        self.said_wrong.append(self._trouble)
        _log.warning("broker: %s", self._trouble)

    async def _on_reconnected(self) -> None:
        self._reconnected.set()
        self._reconnected.clear()

    def send(self, subject: str, note: Envelope, keys: RunKeys) -> None:
        """Send a message in the background, until the broker has stored it."""
        self._unstored += 1
        parts = note.parts(keys)
        self._loop.call_soon_threadsafe(lambda: self._spawn(self._send_parts(subject, parts)))

    async def _send_parts(self, subject: str, parts: Iterator[Part]) -> None:
        # A slow line must not be filled with parts that wait for each other until they time out.
        await asyncio.gather(*(self._store_in_turn(subject, parts) for _ in range(_IN_FLIGHT)))
        self._unstored -= 1

    async def _store_in_turn(self, subject: str, parts: Iterator[Part]) -> None:
        for part in parts:
            await self._store(subject, *part)

    async def _store(self, subject: str, headers: dict[str, str], content: bytes) -> None:
        """Publish one part until the broker acknowledges it; it stores an id once."""
        for attempt in range(1 << 30):
            try:
                answer = await self._answer(
                    self._client.request(subject, content, _STORED_SECONDS, headers=headers)
                )
                if "error" not in json.loads(answer.data):
                    return
                _log.warning("broker: %s", json.loads(answer.data)["error"].get("description"))
            except (NatsError, OSError, TimeoutError, ValueError) as error:
                _log.info("broker: a message is sent again (%s)", reason(error))
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])

    async def _answer(self, request: Coroutine[Any, Any, Msg]) -> Msg:
        """Return the broker's answer; after a reconnection it is lost, and no longer waited for."""
        asked = self._loop.create_task(request)
        anew = self._loop.create_task(self._reconnected.wait())
        try:
            await asyncio.wait({asked, anew}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            raise TimeoutError("the connection is a new one")
        finally:
            asked.cancel()
            anew.cancel()

    def beat(self, subject: str, every: Callable[[], float], said: Callable[[], Part]) -> None:
        """Publish a heartbeat every few seconds."""
        self.spawn(self._beat(subject, every, said))

    async def _beat(
        self, subject: str, every: Callable[[], float], said: Callable[[], Part]
    ) -> None:
        while True:
            with contextlib.suppress(NatsError, OSError):
                if self._client.is_connected:
                    headers, content = said()
                    await self._client.publish(subject, content, headers=headers)
            await asyncio.sleep(every())

    def listen_for_beats(self, subject: str, heard: Callable[[Part], None], quota: Quota) -> None:
        """Call `heard` for every heartbeat of a sender; more than fit its buffer are strikes.

        One that is cut off is not listened to meanwhile, or its flood would still be carried here.
        """

        async def on_beat(message: Msg) -> None:
            heard((message.headers or {}, message.data))
            await self._unless_cut_off(subject)

        self._quotas[subject], self._ears[subject] = quota, on_beat
        self._run(self._subscribed(subject))

    async def _subscribed(self, subject: str) -> None:
        self._beats[subject] = await self._client.subscribe(
            subject, cb=self._ears[subject], pending_bytes_limit=_BEAT_BYTES
        )

    async def _unless_cut_off(self, subject: str) -> None:
        """Go on to listen for a sender's heartbeats, unless it is cut off."""
        if self._quotas[subject].reason and subject in self._beats:
            with contextlib.suppress(NatsError, OSError):
                await self._beats.pop(subject).unsubscribe()
            self._spawn(self._listen_again(subject))

    async def _listen_again(self, subject: str) -> None:
        """Listen for a sender's heartbeats once it is cut off no longer."""
        while self._quotas[subject].reason or not self._client.is_connected:
            await asyncio.sleep(_LOOK_SECONDS)
        await self._subscribed(subject)

    def read(self, stream: str, consumer: str, sender: Reassembler, quota: Quota) -> None:
        """Put all messages of a consumer into `arrivals`.

        Args:
            stream: The stream.
            consumer: Our consumer there.
            sender: The one sender of its messages.
            quota: What it may send that is of no use.
        """
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        # A member may not, and cuts the coordinator off from nothing.
        purge = None if quota.most is None else partial(self._purge, stream)
        self.spawn(Reader(self, subject, sender, quota, purge).pull())

    async def _purge(self, stream: str) -> None:
        await self._client.jetstream().purge_stream(stream)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work on the event loop until the connection is closed."""
        self._run(self._spawned(work))

    async def _spawned(self, work: Coroutine[Any, Any, None]) -> None:
        self._spawn(work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.arrivals.put(EngineError(f"the connection failed: {reason(task.exception())}"))

    async def _claim_for_good(self) -> None:
        """Keep the broker from redelivering the messages that we are working on."""
        while True:
            await asyncio.sleep(ACK_SECONDS / 3)
            for message in list(self._claimed.values()):
                with contextlib.suppress(NatsError, OSError):
                    await message.in_progress()

    def claim(self, message: Msg) -> bool:
        """Claim a part until its message is acknowledged; return whether it was claimed before."""
        place = _place(message)
        again, self._claimed[place] = place in self._claimed, message
        return again

    def acknowledger(self, messages: list[Msg]) -> Callable[[], None]:
        """Return a call that acknowledges these parts in the background."""

        async def acknowledge() -> None:
            for message in messages:
                self._claimed.pop(_place(message), None)
                with contextlib.suppress(NatsError, OSError):
                    await message.ack()

        def schedule() -> None:
            asyncio.run_coroutine_threadsafe(acknowledge(), self._loop)

        return schedule

    def round_trip(self) -> float:
        """Return the seconds to the broker and back.

        Raises:
            EngineError: If it does not answer.
        """
        started = time.monotonic()
        self.run(self._client.flush(timeout=5))
        return time.monotonic() - started

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until the broker has stored what was sent, and return whether it has in time."""
        until = time.monotonic() + seconds
        while self._unstored and time.monotonic() < until:
            time.sleep(0.005)
        return not self._unstored

    def close(self) -> None:
        """End the connection and the thread."""
        with contextlib.suppress(Exception):
            self._run(self._close(), 5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        self.close()


def _place(message: Msg) -> tuple[str, int]:
    """Return the stream of a stored message, and its place there."""
    return message.metadata.stream, message.metadata.sequence.stream
