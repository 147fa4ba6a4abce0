"""The one interface between the rounds and whatever carries their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from securefl.errors import SecureflError


class EngineError(SecureflError):
    """The engine can no longer carry messages, for example because a member's process died."""

    wire_name: ClassVar[str] = "EngineError"


class DeadlineExceeded(SecureflError):
    """Nothing arrived in time."""

    wire_name: ClassVar[str] = "DeadlineExceeded"


@dataclass(frozen=True)
class Delivery:
    """A message as it arrived.

    Attributes:
        sender: Name of the party that the engine vouches for.
        message: The bytes.
    """

    sender: str
    message: bytes


class Transport(Protocol):
    """The coordinator's end of an engine."""

    def publish(self, party: str, message: bytes) -> None:
        """Hand a message to a party; never waits for it to be handled."""

    def receive(self, timeout: float | None = None) -> Delivery:
        """The next message from any party.

        Args:
            timeout: Seconds to wait; None waits as long as an answer can still come.

        Raises:
            DeadlineExceeded: If nothing arrived in time, or nothing is under way.
            EngineError: If a party can never answer again.
        """


class OpenTransport(Transport, Protocol):
    """A transport that lives as long as a `with` block."""

    def __enter__(self) -> Self:
        """Open it."""

    def __exit__(self, *details: object) -> None:
        """Close it, and end whatever it started."""
