"""Findings of checks: PASS, FAIL, WARN or SKIPPED.

The recorded verdicts are "pass", "fail", "warn" and "not checked".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "not checked", "warn", "fail"]
SEVERITY: tuple[Verdict, ...] = ("pass", "not checked", "warn", "fail")
Overall = Literal["pass", "incomplete", "warn", "fail"]
"""Verdicts of a whole audit; "incomplete" if a fact is missing that the agreement calls for."""


@dataclass(frozen=True)
class Finding:
    """One finding of a check.

    Attributes:
        verdict: "not checked" (SKIPPED) where there was nothing to check, or an input is missing.
        reason: One line.
        where: The entry, round or member concerned.
        lacks: The missing fact, where the agreement calls for it: the audit is then incomplete.
    """

    verdict: Verdict
    reason: str
    where: str | None = None
    lacks: str | None = None


def passed(reason: str) -> Finding:
    """Return PASS: everything that was checked holds."""
    return Finding("pass", reason)


def failed(reason: str, where: str | None = None) -> Finding:
    """Return FAIL: something is provably wrong."""
    return Finding("fail", reason, where)


def warned(reason: str, where: str | None = None) -> Finding:
    """Return WARN: something may be wrong, or a required input is missing."""
    return Finding("warn", reason, where)


def skipped(reason: str, where: str | None = None) -> Finding:
    """Return SKIPPED: there was nothing to check, or an optional input is missing."""
    return Finding("not checked", reason, where)


def lacking(fact: str, reason: str, where: str | None = None) -> Finding:
    """Return SKIPPED for want of a fact that the agreement calls for."""
    return Finding("not checked", reason, where, fact)


def worst_of(findings: Iterable[Finding], otherwise: Finding) -> Finding:
    """Return the first of the worst findings with a count of the others, or else `otherwise`."""
    found = list(findings)
    if not found:
        return otherwise
    # Among skipped ones, a missing fact comes before what merely could not be compared.
    worst = max(found, key=lambda one: (SEVERITY.index(one.verdict), one.lacks is not None))
    more = len(found) - 1
    reason = f"{worst.reason} (and {more:,} more)" if more else worst.reason
    return Finding(worst.verdict, reason, worst.where, worst.lacks)
