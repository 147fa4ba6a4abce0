"""The live display on a terminal: a moving line of the present stage, one line of each past one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from securefl.untrusted.text import shown
from securefl_cli.rendering.clock import RemainingTime, clock
from securefl_cli.rendering.progress import figures

if TYPE_CHECKING:
    from securefl.federation.coordinator.rounds import RoundRecord


class LiveProgress:
    """A display of stages with their time, and of rounds with bar, loss, metric and time left."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._display: Progress | None = None
        self._text = ""
        self._started = 0.0
        self._rounds = 0
        self._left = RemainingTime()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(over=kind is None)

    def stage(self, text: str) -> None:
        """See `securefl.federation.runs.progress.Progress`."""
        self._open(text, Elapsed(), total=None, done=0)

    def begin(self, done: int, rounds: int) -> None:
        """See `securefl.federation.runs.progress.Progress`."""
        self._rounds = rounds
        self._left = RemainingTime()
        bar = BarColumn(bar_width=16)
        self._open(f"Round {done}/{rounds}", bar, total=rounds, done=done)

    def round(self, record: RoundRecord) -> None:
        """See `securefl.federation.runs.progress.Progress`."""
        left = clock(self._left.after(self._rounds - record.round))
        self._text = shown(f"Round {record.round}/{self._rounds}  {figures(record)}")
        if self._display is not None:
            task = self._display.task_ids[0]
            line = f"{self._text}  left {left}"
            self._display.update(task, description=line, completed=record.round, refresh=True)

    def _open(self, text: str, column: ProgressColumn, *, total: int | None, done: int) -> None:
        self._close(over=True)
        text = shown(text)
        self._text, self._started = text, time.monotonic()
        self._display = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            column,
            console=self._console,
            transient=True,
        )
        self._display.add_task(text, total=total, completed=done)
        self._display.start()

    def _close(self, *, over: bool) -> None:
        """Remove the moving line, and print the result where the stage is over."""
        if self._display is None:
            return
        self._display.stop()
        self._display = None
        if over:
            spent = clock(time.monotonic() - self._started)
            self._console.print(f"{self._text}  {spent}", markup=False)
