"""Virtual time: what waits in it takes none, and the order of events follows from a seed."""

from __future__ import annotations

import heapq
import queue
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

START = 1_000.0
WALL = 1_790_000_000.0
"""Seconds since 1970 at `START`."""


class KilledError(BaseException):
    """A process is killed; no code of a party catches this."""


class PostponedError(BaseException):
    """A member's process sleeps: what it was doing is done again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class World:
    """The clock and what happens when; all parties of one consortium share it.

    Attributes:
        now: Seconds, as `time.monotonic` says in it.
        draw: The only source of chance.
        wall: By how much the clock on the wall is wrong, seconds.
        at_work: Whether a member is handling a message just now.
    """

    def __init__(self, seed: int) -> None:
        self.now, self.wall, self.at_work = START, 0.0, False
        self.draw = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Have something happen in so many seconds."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), call))

    def step(self, until: float) -> bool:
        """Let the next event happen if it does until then, and return whether one did."""
        if not self._events or self._events[0][0] > until:
            return False
        moment, _, call = heapq.heappop(self._events)
        self.now = max(self.now, moment)
        call()
        return True

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.step(until):
            pass
        self.now = max(self.now, until)

    def sleep(self, seconds: float) -> None:
        """Stand in for `time.sleep`."""
        if self.at_work:
            raise PostponedError(seconds)
        self.advance(seconds)

    @contextmanager
    def ruling(self) -> Iterator[None]:
        """Have this process's clocks be those of the world; for one thread."""
        with (
            patch("time.monotonic", lambda: self.now),
            patch("time.time", lambda: WALL + self.now - START + self.wall),
            patch("time.sleep", self.sleep),
        ):
            yield


class Arrivals:
    """A queue in virtual time: who waits for something in it lets the world go on meanwhile."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: deque[Any] = deque()

    def put(self, item: object) -> None:
        """Put something in."""
        self._waiting.append(item)

    def get(self, timeout: float = 0.0) -> Any:
        """Take the first thing out.

        Raises:
            queue.Empty: If there is nothing in time.
        """
        until = self._world.now + timeout
        while not self._waiting and self._world.step(until):
            pass
        if not self._waiting:
            self._world.now = max(self._world.now, until)
            raise queue.Empty
        return self._waiting.popleft()

    def get_nowait(self) -> Any:
        """Take the first thing out, if it is there."""
        if not self._waiting:
            raise queue.Empty
        return self._waiting.popleft()
