"""What the services need of a connection, whatever carries its messages."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from securefl.federation.transport.faults import StandingFaults

if TYPE_CHECKING:
    from securefl.federation.transport.nats.chunking import Envelope
    from securefl.federation.transport.nats.consumer import Arrival
    from securefl.federation.transport.session_keys import RunKeys


class LineState(Protocol):
    """Whether the other side answers, for status files."""

    @property
    def connected(self) -> bool | None:
        """Whether it does; None where it is unknown."""

    @property
    def heard(self) -> float | None:
        """When it answered last, seconds since the epoch; None before."""


class Link(Protocol):
    """A party's connection to what carries its messages."""

    @property
    def arrivals(self) -> queue.Queue[Arrival | Exception]:
        """Messages that have arrived, opened; an exception ends the process."""

    @property
    def connected(self) -> bool:
        """Whether messages can be carried now; time without it counts against no member."""

    @property
    def stores(self) -> bool:
        """Whether what is sent is kept until it is read; time without it counts likewise."""

    @property
    def line(self) -> LineState:
        """For status files."""

    @property
    def faults(self) -> StandingFaults:
        """What is wrong with it."""

    def send(self, subject: str, note: Envelope, keys: RunKeys) -> None:
        """Send a message in the background; the subject is the broker's name for its receiver."""

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until what was sent has left, and return whether it has in time."""


Opening: TypeAlias = Callable[[StandingFaults], AbstractContextManager[Link]]
"""Opens a connection, which tells the faults what is wrong with it."""
