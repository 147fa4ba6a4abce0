"""The interfaces between the rounds, the transport of their messages, and the parties behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from securefl.errors import SecureflError


class EngineError(SecureflError):
    """The engine can no longer carry messages, for example because a member's process died."""

    wire_name: ClassVar[str] = "EngineError"


class DeadlineExceeded(SecureflError):
    """No message arrived in time."""

    wire_name: ClassVar[str] = "DeadlineExceeded"


@dataclass(frozen=True)
class Delivery:
    """A message as it arrived.

    Attributes:
        sender: Name of the sending party, authenticated by the engine.
        message: The bytes.
    """

    sender: str
    message: bytes


class Transport(Protocol):
    """The coordinator's end of an engine."""

    def publish(self, party: str, message: bytes) -> None:
        """Send a message to a party, without waiting until it is handled."""

    def receive(self, timeout: float | None = None) -> Delivery:
        """Return the next message from any party.

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
        """Close it, and end the processes and threads that it started."""


class Party(Protocol):
    """An endpoint that answers messages."""

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the replies to one message, in order."""

    def close(self) -> None:
        """Close all open files."""


class PartySpec(Protocol):
    """The picklable description from which a process builds the party that it hosts."""

    @property
    def name(self) -> str:
        """The party's name."""

    @property
    def cost(self) -> int:
        """Relative work, by which parties are balanced over processes."""

    def build(self) -> Party:
        """Return the party."""


@dataclass(frozen=True)
class HostedParties:
    """The parties that an engine hosts in a simulated run.

    Attributes:
        members: The members, in roster order.
        pooled: The centralized baseline, which trains concurrently with the rounds; at most one.
        workers: Processes for the members, where the engine has processes; 1 or more.
    """

    members: Sequence[PartySpec]
    pooled: Sequence[PartySpec]
    workers: int


class Engine(Protocol):
    """A factory of transports that host all parties of a simulated run."""

    def __call__(self, parties: HostedParties) -> OpenTransport:
        """Build every party once, and return the transport to them."""
