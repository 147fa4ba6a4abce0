"""Rendering of audits; nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from securefl.audit.answer import UNPROTECTED
from securefl.audit.bundle.findings import Overall, Verdict
from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.explain import Explanation
from securefl.audit.verify import Audit, Checked
from securefl.privacy.accounting.spent import UNBOUNDED
from securefl.untrusted.text import LONGEST
from securefl_cli.rendering.grid import Cell, Column, Table
from securefl_cli.rendering.screen import Screen, console

_STYLE: dict[Verdict | Overall, str] = {
    "pass": "green",
    "not checked": "dim",
    "incomplete": "yellow",
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
    if audit.answer:
        out.line()
        out.paragraph(audit.answer)
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
    found = f"  ({', '.join(counts)})"
    # A run without noise can pass every check. Its verdict must not read as protection.
    bare = f"; {UNPROTECTED}" if audit.protected is False else ""
    out.spans(("Verdict  ", "bold"), verdict, (bare, "yellow"), (found, ""))


def _checks(checks: list[Checked]) -> Table:
    columns = (Column(width=_VERDICT_WIDTH), Column(width=_NAME_WIDTH), Column())
    return Table(columns, [_check(check) for check in checks], headed=False, indent=2)


def _check(check: Checked) -> tuple[Cell, str, Cell]:
    style = _STYLE[check.verdict]
    reason = (check.reason, "" if check.verdict == "pass" else style)
    where = () if check.where is None else ((check.where, "dim"),)
    return Cell(((check.verdict, style),)), check.name, Cell((reason, *where), LONGEST)


def _print_remedies(out: Screen, audit: Audit) -> None:
    """Print how to fix checks that failed, are doubtful, or lack what the agreement calls for."""
    troubled = [c for c in audit.checks if c.verdict in {"fail", "warn"} or c.lacks]
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
    out.line("What the bundle says: none of it was checked here, which is what verify does.", "dim")
    out.line()
    facts = [
        (Cell(((label, "bold"),)), Cell(((text, ""),), LONGEST)) for label, text in _facts(story)
    ]
    out.table(Table((Column(width=14), Column()), facts, headed=False))
    out.line()
    out.table(_deeds(story))
    for member in story.members:
        for question in member.refused_questions:
            out.line(f"{member.name} refused the question: {question}", "yellow")
    if story.unit is not None:
        out.line()
        out.table(_accounts(story))
        for text in _in_all(story):
            out.line()
            out.paragraph(text)
    _print_limits(out)


def _in_all(story: Explanation) -> Iterator[str]:
    """Yield what the accounts of single members do not say."""
    accounts = sum(member.epsilon_recomputed is not None for member in story.members)
    if story.unit == "customer" and accounts > 1:
        run, life = (_bound(e) for e in (story.customer_of_all_run, story.customer_of_all))
        yield (
            f"A customer whom all {accounts} members know has epsilon {run} by this run, and"
            f" {life} in all: what members spend on one customer adds up, and under noise that they"
            " share more than that."
        )
    for member in story.members:
        if member.other_steps:
            yield (
                f"{member.name}: {member.other_steps:,} earlier steps were charged to other privacy"
                f" units of these data. With them epsilon of a {story.unit} is"
                f" {_bound(member.epsilon_all_units)}."
            )


def _bound(epsilon: float | None) -> str:
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"


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
