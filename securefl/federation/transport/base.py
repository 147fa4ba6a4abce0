"""The interfaces between the rounds, what carries their messages, and the parties behind it."""

from __future__ import annotations

from collections.abc import Sequence
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


class Party(Protocol):
    """Something that answers messages."""

    def handle(self, message: bytes) -> Sequence[bytes]:
        """The replies to one message, in order."""

    def close(self) -> None:
        """Let go of the files that are open."""


class PartySpec(Protocol):
    """Builds a party in the process that will host it; can be pickled."""

    @property
    def name(self) -> str:
        """The party's name."""

    @property
    def cost(self) -> int:
        """Relative work, which decides who shares a process with whom."""

    def build(self) -> Party:
        """The party."""


@dataclass(frozen=True)
class HostedParties:
    """What an engine hosts in a simulated run.

    Attributes:
        members: The members, in roster order.
        pooled: The pooled reference, which trains beside the rounds; at most one.
        workers: Processes for the members, where the engine has processes; 1 or more.
    """

    members: Sequence[PartySpec]
    pooled: Sequence[PartySpec]
    workers: int


class Engine(Protocol):
    """Opens a transport behind which all parties of a simulated run are hosted."""

    def __call__(self, parties: HostedParties) -> OpenTransport:
        """Build every party once, and return the way to them."""
