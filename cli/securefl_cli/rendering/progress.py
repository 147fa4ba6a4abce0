"""Progress of a run: a live display on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from securefl.config.metric_labels import shown, title
from securefl.privacy.accounting.spent import shown_customer_epsilon

if TYPE_CHECKING:
    from securefl.federation.coordinator.rounds import RoundRecord
    from securefl.federation.runs.progress import Progress
    from securefl.federation.services.schedule import Announcement
from securefl_cli.rendering.clock import RemainingTime, clock
from securefl_cli.rendering.screen import Screen


@contextmanager
def watch(*, quiet: bool) -> Iterator[Progress | None]:
    """Show a run's progress within the block; None if nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from securefl_cli.rendering.live import LiveProgress

        with LiveProgress() as live:
            yield live
    else:
        yield PlainProgress()


class PlainProgress:
    """One line a stage and one a round, for logs."""

    def __init__(self) -> None:
        self._rounds = 0
        self._left = RemainingTime()

    def stage(self, text: str) -> None:
        """See `securefl.federation.runs.progress.Progress`."""
        _line(text)

    def begin(self, done: int, rounds: int) -> None:
        """See `securefl.federation.runs.progress.Progress`."""
        self._rounds = rounds
        self._left = RemainingTime()
        _line(f"Training, going on after round {done}" if done else "Training")

    def round(self, record: RoundRecord) -> None:
        """See `securefl.federation.runs.progress.Progress`."""
        left = self._left.after(self._rounds - record.round)
        _line(
            f"round {record.round}/{self._rounds}  {figures(record)}  "
            f"{record.seconds:.1f} s  left {clock(left)}"
        )
        for remark in record.unusual:
            _line(f"round {record.round}: {remark}")
        if record.vote is not None and (record.vote.rejected or record.vote.absent):
            verdict = "rejected" if record.vote.rejected else "accepted"
            _line(f"round {record.round}: {verdict} by the members' vote: {record.vote.reasons}")


def figures(record: RoundRecord) -> str:
    """Return loss and decisive metric, or the spent epsilon where neither may be released."""
    spent = record.epsilon
    first = f"loss {record.loss:.4f}" if spent is None else f"epsilon {spent:.3f}"
    if record.customer_epsilon is not None:
        known = record.customer_epsilon if math.isfinite(record.customer_epsilon) else None
        first += f" a record, {shown_customer_epsilon(known)} a customer"
    if record.unscored:
        return f"{first}  no scores: {record.unscored}"
    if not record.validation:
        return first
    decisive, value = next(iter(record.validation.items()))
    return f"{first}  {title(decisive)} {shown(decisive, value)}"


def _line(text: str) -> None:
    Screen(err=True).whole(text)


def announce(said: Announcement) -> None:
    """Say on stderr which run of a schedule is next, and when."""
    when = f"on {said.due:%Y-%m-%d %H:%M} UTC" if said.waits else "now"
    Screen(err=True).whole(f"Run {said.number} of {said.runs} begins {when}.")
