"""What a check comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "not checked", "warn", "fail"]
SEVERITY: tuple[Verdict, ...] = ("pass", "not checked", "warn", "fail")


@dataclass(frozen=True)
class Finding:
    """The verdict of one check.

    Attributes:
        verdict: "not checked" where something is missing that nobody had to deliver.
        reason: One line.
        where: The entry, round or member that it is about.
    """

    verdict: Verdict
    reason: str
    where: str | None = None


def passed(reason: str) -> Finding:
    """All is as it should be."""
    return Finding("pass", reason)


def failed(reason: str, where: str | None = None) -> Finding:
    """Something is provably wrong."""
    return Finding("fail", reason, where)


def warned(reason: str, where: str | None = None) -> Finding:
    """Something may be wrong, or is missing."""
    return Finding("warn", reason, where)


def skipped(reason: str, where: str | None = None) -> Finding:
    """There was nothing to check, or nothing to check it with."""
    return Finding("not checked", reason, where)


def worst_of(findings: Iterable[Finding], otherwise: Finding) -> Finding:
    """The first of the worst findings, with a count of the others; `otherwise` if there is none."""
    found = list(findings)
    if not found:
        return otherwise
    worst = max(found, key=lambda finding: SEVERITY.index(finding.verdict))
    more = len(found) - 1
    reason = f"{worst.reason} (and {more:,} more)" if more else worst.reason
    return Finding(worst.verdict, reason, worst.where)
