"""Rendering of audits; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from securefl.audit.bundle.findings import Verdict
from securefl.audit.checks.registry import NOT_PROVED
from securefl.audit.explain import Explanation
from securefl.audit.verify import Audit, Checked
from securefl_cli.rendering.screen import console

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
    out.print()
    out.print(Text(f"Audit of {audit.source}", style="bold"), soft_wrap=True)
    if audit.run is not None:
        out.print(Text(f"Run {audit.run[:16]}…", style="dim"))
    for group, checks in groupby(audit.checks, key=lambda check: check.group):
        out.print()
        out.print(Text(group, style="bold"))
        out.print(_checks(list(checks)))
    _print_remedies(out, audit)
    _print_limits(out)
    out.print()
    counts = [
        f"{number} {verdict}"
        for verdict in ("fail", "warn", "not checked", "pass")
        if (number := sum(check.verdict == verdict for check in audit.checks))
    ]
    verdict = Text(audit.verdict.upper(), style=_STYLE[audit.verdict])
    out.print(Text("Verdict  ", style="bold") + verdict + Text(f"  ({', '.join(counts)})"))


def _checks(checks: list[Checked]) -> Padding:
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(width=_VERDICT_WIDTH)
    drawn.add_column(width=_NAME_WIDTH, no_wrap=True)
    drawn.add_column(overflow="fold")
    for check in checks:
        style = _STYLE[check.verdict]
        reason = Text()
        reason.append(check.reason, style="" if check.verdict == "pass" else style)
        if check.where is not None:
            reason.append(f"\n{check.where}", style="dim")
        drawn.add_row(Text(check.verdict, style=style), Text(check.name), reason)
    return Padding(drawn, (0, 0, 0, 2))


def _print_remedies(out: Console, audit: Audit) -> None:
    """Print how to fix failed and doubtful checks; one that was skipped needs no action."""
    troubled = [check for check in audit.checks if check.verdict in {"fail", "warn"}]
    if not troubled:
        return
    out.print()
    out.print(Text("What to do", style="bold"))
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(width=_NAME_WIDTH, no_wrap=True)
    drawn.add_column(overflow="fold")
    for check in troubled:
        drawn.add_row(Text(check.name, style=_STYLE[check.verdict]), Text(check.remedy))
    out.print(Padding(drawn, (0, 0, 0, 2)))


def _print_limits(out: Console) -> None:
    out.print()
    out.print(Text("Not proved by any of this", style="bold"))
    drawn = Table.grid(padding=(0, 1, 0, 0))
    for limit in NOT_PROVED:
        drawn.add_row("-", Text(limit, style="dim"))
    out.print(Padding(drawn, (0, 0, 0, 2)))


def print_explanation(story: Explanation) -> None:
    """Print what each member did in a run, and what it cost in privacy."""
    out = console()
    out.print()
    out.print(Text(f"{story.task}, agreement '{story.agreement}'", style="bold"))
    out.print()
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(width=14)
    facts.add_column(overflow="fold")
    for label, text in _facts(story):
        facts.add_row(Text(label, style="bold"), Text(text))
    out.print(facts)
    out.print()
    out.print(_deeds(story))
    if story.unit is not None:
        out.print()
        out.print(_accounts(story))
    if story.customer_of_all is not None:
        out.print()
        accounts = sum(member.epsilon_recomputed is not None for member in story.members)
        out.print(
            Text(
                f"A {story.unit} whom all {accounts} members know has epsilon"
                f" {story.customer_of_all:.3f} in all: what members spend on one {story.unit}"
                " adds up."
            )
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


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        drawn.add_column(column, justify="right" if place else "left", vertical="bottom")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
