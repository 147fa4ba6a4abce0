"""A TCP proxy before a broker: it delays, holds back to so many bytes a second, and cuts."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine
from typing import Any, Self

_CHUNK = 16 << 10


class BadLine:
    """The line of all parties; each connection can be cut by itself.

    Attributes:
        delay: Seconds of everything, each way.
        rate: Bytes a second of a connection, each way; 0 for any number.
        carried: Bytes in all.
    """

    def __init__(self, port: int, broker: int) -> None:
        """Begin to listen.

        Args:
            port: Where the parties connect.
            broker: The port of the broker.
        """
        self.delay, self.rate, self.carried = 0.0, 0.0, 0
        self._port, self._broker = port, broker
        self._open: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._take, "127.0.0.1", port))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self._broker)
        except OSError:
            writer.close()
            return
        self._open[writer] = there[1]
        ways = self._carry(reader, there[1]), self._carry(there[0], writer)
        await asyncio.gather(*ways, return_exceptions=True)
        self._open.pop(writer, None)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                self.carried += len(data)
                wait = self.delay + (len(data) / self.rate if self.rate else 0.0)
                if wait:
                    await asyncio.sleep(wait)
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self, draw: random.Random) -> None:
        """Cut one connection, which one is drawn; its party connects again."""
        self._run(self._cut(draw.random()))

    async def _cut(self, which: float | None) -> None:
        ends = list(self._open.items())
        if which is not None and ends:
            ends = [ends[int(which * len(ends))]]
        for pair in ends:
            for end in pair:
                end.transport.abort()

    def close(self) -> None:
        """Cut all, and let nobody in until `reopen`."""
        self._closed = True
        self._run(self._cut(None))

    def reopen(self) -> None:
        """Let parties in again."""
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        self.close()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
