"""Rendering of audits; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from securefl.audit.bundle.findings import Verdict
from securefl.audit.checks.registry import NOT_PROVED
from securefl.audit.explain import Explanation
from securefl.audit.verify import Audit, Checked
from securefl.untrusted.text import LONGEST
from securefl_cli.rendering.grid import Cell, Column, Table
from securefl_cli.rendering.screen import Screen, console

_STYLE: dict[Verdict, str] = {
    "pass": "green",
    "not checked": "dim",
    "warn": "yellow",
    "fail": "bold red",
}
_NAME_WIDTH, _VERDICT_WIDTH = 20, 11


def print_audit(audit: Audit) -> None:
    """Print every check with its verdict, how to fix failures, and what is not proved."""
    out = console()
    out.line()
    out.whole(f"Audit of {audit.source}", "bold")
    if audit.run is not None:
        out.line(f"Run {audit.run[:16]}…", "dim")
    for group, checks in groupby(audit.checks, key=lambda check: check.group):
        out.line()
        out.line(group, "bold")
        out.table(_checks(list(checks)))
    _print_remedies(out, audit)
    _print_limits(out)
    out.line()
    counts = [
        f"{number} {verdict}"
        for verdict in ("fail", "warn", "not checked", "pass")
        if (number := sum(check.verdict == verdict for check in audit.checks))
    ]
    verdict = (audit.verdict.upper(), _STYLE[audit.verdict])
    out.spans(("Verdict  ", "bold"), verdict, (f"  ({', '.join(counts)})", ""))


def _checks(checks: list[Checked]) -> Table:
    columns = (Column(width=_VERDICT_WIDTH), Column(width=_NAME_WIDTH), Column())
    return Table(columns, [_check(check) for check in checks], headed=False, indent=2)


def _check(check: Checked) -> tuple[Cell, str, Cell]:
    style = _STYLE[check.verdict]
    reason = (check.reason, "" if check.verdict == "pass" else style)
    where = () if check.where is None else ((check.where, "dim"),)
    return Cell(((check.verdict, style),)), check.name, Cell((reason, *where), LONGEST)


def _print_remedies(out: Screen, audit: Audit) -> None:
    """Print how to fix failed and doubtful checks; one that was skipped needs no action."""
    troubled = [check for check in audit.checks if check.verdict in {"fail", "warn"}]
    if not troubled:
        return
    out.line()
    out.line("What to do", "bold")
    rows = [
        (Cell(((check.name, _STYLE[check.verdict]),)), Cell(((check.remedy, ""),), LONGEST))
        for check in troubled
    ]
    out.table(Table((Column(width=_NAME_WIDTH), Column()), rows, headed=False, indent=2))


def _print_limits(out: Screen) -> None:
    out.line()
    out.line("Not proved by any of this", "bold")
    rows = [("-", Cell(((limit, "dim"),), LONGEST)) for limit in NOT_PROVED]
    out.table(Table((Column(width=1), Column()), rows, headed=False, indent=2, gap=1))


def print_explanation(story: Explanation) -> None:
    """Print what each member did in a run, and what it cost in privacy."""
    out = console()
    out.line()
    out.line(f"{story.task}, agreement '{story.agreement}'", "bold")
    out.line()
    facts = [
        (Cell(((label, "bold"),)), Cell(((text, ""),), LONGEST)) for label, text in _facts(story)
    ]
    out.table(Table((Column(width=14), Column()), facts, headed=False))
    out.line()
    out.table(_deeds(story))
    if story.unit is not None:
        out.line()
        out.table(_accounts(story))
    if story.customer_of_all is not None:
        out.line()
        accounts = sum(member.epsilon_recomputed is not None for member in story.members)
        out.line(
            f"A {story.unit} whom all {accounts} members know has epsilon"
            f" {story.customer_of_all:.3f} in all: what members spend on one {story.unit} adds up."
        )
    _print_limits(out)


def _facts(story: Explanation) -> list[tuple[str, str]]:
    facts = [
        ("Agreement", f"fingerprint {story.fingerprint}"),
        ("Time", f"{story.began} to {story.ended}"),
        ("Rounds", f"{story.rounds:,} of {story.rounds_agreed:,} agreed"),
        ("Protection", story.protection),
    ]
    if story.unit is not None:
        budget = f"epsilon {story.budget:g}" if story.budget else "no budget"
        facts.append(("Budget", f"{budget}, delta {story.delta:g}, for each {story.unit}"))
    facts.append(("Sums", f"over {story.fewest} members at least"))
    log = f"{story.entries:,} signed entries, {story.heads:,} heads, {story.transcripts:,}"
    facts.append(("Log", f"{log} transcripts"))
    return facts


def _deeds(story: Explanation) -> Table:
    columns = ("Member", "Releases", "Sent again", "Refusals", "Private steps", "Least noise")
    rows = [
        (
            member.name,
            f"{member.releases:,}",
            str(member.repeats),
            str(member.refusals),
            f"{member.steps:,}",
            _figure(member.noise),
        )
        for member in story.members
    ]
    return _table(columns, rows)


def _accounts(story: Explanation) -> Table:
    columns = ("Epsilon of", "Before", "This run", "Recorded", "Recomputed", "Cap")
    rows = [
        (
            member.name,
            _figure(member.epsilon_before),
            _figure(member.epsilon_run),
            _figure(member.epsilon_life),
            _figure(member.epsilon_recomputed),
            _figure(member.cap),
        )
        for member in story.members
    ]
    return _table(columns, rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    columns = [Column(name, right=place > 0, firm=place > 0) for place, name in enumerate(names)]
    return Table(columns, rows)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
