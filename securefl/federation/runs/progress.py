"""Progress of a run, as callbacks; the command line draws it."""

from __future__ import annotations

from typing import Protocol

from securefl.federation.coordinator.rounds import RoundRecord


class Progress(Protocol):
    """Callbacks from the run's own thread, between the steps."""

    def stage(self, text: str) -> None:
        """Show a new stage: loading, preparing, training, evaluating."""

    def begin(self, done: int, rounds: int) -> None:
        """Show the start of the rounds, of which `done` are done already."""

    def round(self, record: RoundRecord) -> None:
        """Show a round that has ended and is durable."""


class Silent:
    """Progress that is not shown."""

    def stage(self, text: str) -> None:
        """See `Progress.stage`."""

    def begin(self, done: int, rounds: int) -> None:
        """See `Progress.begin`."""

    def round(self, record: RoundRecord) -> None:
        """See `Progress.round`."""
