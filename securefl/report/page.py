"""From a run directory to a report on disk."""

from __future__ import annotations

from pathlib import Path

from securefl.errors import InputError, RunDirectoryError
from securefl.report.assembly import assemble
from securefl.report.html import render
from securefl.report.proof import prove
from securefl.runs.directory import REPEAT, RunDirectory
from securefl.runs.result import RunResult
from securefl.tensor_files import write_atomically

REPORT = "report.html"


def write_report(run: Path, out: Path | None = None, beside: Path | None = None) -> Path:
    """Write the report of a run that has ended.

    Args:
        run: Its directory.
        out: The file; `report.html` in the run's directory if not given.
        beside: Another run's directory, to show what the protection costs.

    Returns:
        The file.

    Raises:
        RunDirectoryError: If a run has not ended, a directory holds none, or the file cannot be
            written.
        InputError: If the two runs are of different tasks.
    """
    directory = RunDirectory.open(_single(run))
    result = _ended(directory)
    other = None if beside is None else _ended(RunDirectory.open(_single(beside)))
    if other is not None and other.task != result.task:
        raise InputError(f"{beside} is a run of {other.task}, and {run} of {result.task}")
    page = render(assemble(result, directory.records(), prove(directory), other))
    path = out or run / REPORT
    write_atomically(path, page.encode())
    return path


def _single(path: Path) -> Path:
    if (path / REPEAT).is_file():
        raise RunDirectoryError(f"{path} holds several runs; report one of them: {path}/seed-0")
    return path


def _ended(directory: RunDirectory) -> RunResult:
    result = directory.result()
    if result is None:
        raise RunDirectoryError(
            f"{directory.path} has not ended; go on with: securefl run --resume {directory.path}"
        )
    return result
