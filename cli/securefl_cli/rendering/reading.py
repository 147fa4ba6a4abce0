"""What reading own files has to say: on stderr while it lasts, and as a report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from securefl_cli.rendering.screen import Screen, console

if TYPE_CHECKING:
    from securefl.data.check import DataReport, Fault

READING_LOGS = ("securefl.data.sources.files", "securefl.data.grouping")
"""Logs of how far files are read and prepared, and of what rules leave out."""
_SHOWN = 3


class _OnScreen(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        Screen(err=True).line(record.getMessage())


def show_reading(*, progress: bool = True) -> None:
    """Show what rules leave out, from now on; once, however often it is called.

    Args:
        progress: Whether to show how far reading is too.
    """
    for name in READING_LOGS:
        log = logging.getLogger(name)
        if not any(isinstance(handler, _OnScreen) for handler in log.handlers):
            log.addHandler(_OnScreen())
        log.setLevel(logging.INFO if progress else logging.WARNING)
        log.propagate = False


def say_no_log() -> None:
    """Keep the log off the screen, for a command that says all of it in its own words."""
    for name in ("securefl", "asyncio"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def print_check(report: DataReport) -> None:
    """Print all that was found, refusals first, each with its correction."""
    from securefl_cli.rendering.tables import plain_table

    out = console()
    rows = [
        (name, f"{lines:,}", f"{report.revenue[name]:,.2f}") for name, lines in report.lines.items()
    ]
    out.table(plain_table(("Retailer", "Lines", "Revenue"), rows))
    for fault in report.faults:
        out.line()
        _print_fault(fault, report.revenue.get(fault.member, 0.0))
    out.line()
    refused = sum(fault.action == "refuse" for fault in report.faults)
    if refused:
        out.line(f"{refused} fault(s); a run would refuse these data.", "bold red")
    else:
        out.line("A run would read these data.", "green")


def _print_fault(fault: Fault, revenue: float) -> None:
    from securefl.data.check import revenue_of

    out = console()
    member = f"{fault.member}: " if fault.member else ""
    column = f", column '{fault.column}'" if fault.column else ""
    style = {"refuse": "bold red", "note": "dim"}.get(fault.action, "yellow")
    out.line(f"{member}{fault.title}{column} [{fault.action}]", style)
    if fault.lines:
        files = f" in {len(fault.files)} files" if len(fault.files) > 1 else ""
        out.line(
            f"  {fault.lines:,} lines{files}, {fault.share_of_lines:.2%} of all;"
            f" {revenue_of(fault, revenue)}"
        )
    for file, row, problem in fault.first[:_SHOWN]:
        place = f"{file}, row {row}: " if row else f"{file}: " if file else ""
        out.line(f"  {place}{problem}")
    if fault.correction:
        out.line(f"  To go on: {fault.correction}")
