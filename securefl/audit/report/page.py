"""Rendering of a run directory as an HTML report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from securefl.audit.report import proof as proofs
from securefl.audit.report.proof import Proof, prove
from securefl.audit.report.rounds import privacy, rounds
from securefl.audit.report.summary_cards import cards, headline
from securefl.audit.report.view_model import Report, beside, subtitle, utility
from securefl.errors import InputError, RunDirectoryError
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.runs.directory import REPEAT, RunDirectory
from securefl.federation.runs.result import RunResult
from securefl.ml.tensor_io import write_atomically
from securefl.untrusted.files import check_folder, replaceable
from securefl.untrusted.text import shown


def assemble(
    result: RunResult,
    records: Sequence[RoundRecord],
    proof: Proof | None,
    other: RunResult | None = None,
    run: Path = Path("RUN"),
) -> Report:
    """Build the view model of the report of a completed run.

    Args:
        result: Result of the run.
        records: Records of its rounds.
        proof: Audit of the run; None if it has no ledger.
        other: Result under another protection, for comparison of utility.
        run: Directory of the run, as the reader can name it.
    """
    story = proof.story if proof else None
    comparison = () if other is None else (beside(result, other),)
    return Report(
        title=f"Federated {result.task if story is None else story.task}",
        subtitle=subtitle(result, story),
        conclusion=headline(result),
        cards=cards(result, records, story),
        sections=(
            utility(result),
            *comparison,
            privacy(result, proof.paths if proof else {}, story),
            rounds(result, records),
            proofs.section(proof, run),
            proofs.not_proved(),
        ),
        run=subject_of(result),
    )


def render(report: Report) -> str:
    """Render the report as a self-contained page with inline style and SVG, without scripts."""
    environment = Environment(
        loader=PackageLoader("securefl.audit.report"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("securefl.audit.report") / "templates" / "report.css"
    # Only the style sheet and the charts bypass autoescaping. Both are made here, and matplotlib
    # escapes the texts in a chart: names of retailers and metrics cannot inject markup.
    environment.filters["drawn"] = Markup
    page = environment.get_template("report.html.j2")
    return page.render(report=report, style=Markup(style.read_text(encoding="utf-8")))  # noqa: S704


def _visible(value: object) -> object:
    """Return what a placeholder shows: autoescaping disarms markup, but no control character."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


REPORT = "report.html"


def subject_of(result: RunResult) -> str:
    """Return what tells the page of a run from that of another, also where neither was signed."""
    return sha256(json.dumps(result.to_json(), sort_keys=True).encode()).hexdigest()


def check_place(path: Path, kind: str, run: str) -> None:
    """Refuse to replace anything but an earlier page of the same kind and run.

    Raises:
        InputError: If something else is there, or its folder cannot be written to.
    """
    check_folder(path)
    replaceable(path, f'<meta name="generator" content="securefl {kind}">'.encode())
    mark = f'<meta name="securefl-run" content="{run}">'.encode()
    replaceable(path, mark, f"the {kind} of another run")


def write_report(run: Path, out: Path | None = None, beside: Path | None = None) -> Path:
    """Write the report of a completed run.

    Args:
        run: Directory of the run.
        out: The file; `report.html` in the run's directory if not given.
        beside: Directory of another run, for comparison of utility.

    Returns:
        The path of the report.

    Raises:
        RunDirectoryError: If a run has not ended, a directory holds no run, or the file cannot
            be written.
        InputError: If the two runs are of different tasks, or something else than a report of the
            run lies where it is to be written.
    """
    directory = RunDirectory.open(_single(run))
    result = _ended(directory)
    other = None if beside is None else _ended(RunDirectory.open(_single(beside)))
    if other is not None and other.task != result.task:
        raise InputError(f"{beside} is a run of {other.task}, and {run} of {result.task}")
    path = out or run / REPORT
    check_place(path, "report", subject_of(result))
    page = render(assemble(result, directory.records(), prove(directory), other, run))
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
