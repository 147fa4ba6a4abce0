"""What a run tells whoever watches it; the command line draws it."""

from __future__ import annotations

from typing import Protocol

from securefl.federation.coordinator.rounds import RoundRecord


class Progress(Protocol):
    """Called from the run's own thread, between the steps."""

    def stage(self, text: str) -> None:
        """A new stage begins: loading, preparing, training, evaluating."""

    def begin(self, done: int, rounds: int) -> None:
        """The rounds begin, `done` of them being done already."""

    def round(self, record: RoundRecord) -> None:
        """A round has ended and is durable."""


class Silent:
    """Nobody watches."""

    def stage(self, text: str) -> None:
        """See `Progress.stage`."""

    def begin(self, done: int, rounds: int) -> None:
        """See `Progress.begin`."""

    def round(self, record: RoundRecord) -> None:
        """See `Progress.round`."""
