"""What the attacks found, beside what was claimed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from securefl.federation.runs.result import json_ready

Verdict = Literal["holds", "EXCEEDED", "no claim"]

NOT_SHOWN = (
    "that epsilon is as small as claimed: a lower bound below the claim only fails to refute it",
    "attacks that nobody tried, and bugs on data or settings that were not run",
    "that a member at work runs this code: the canaries were trained on this machine",
    "what a retailer sells at large: differential privacy hides customers, not assortments",
)


@dataclass(frozen=True)
class Finding:
    """One attack.

    Attributes:
        name: Of the attack.
        gain: What the attacker gets, in words.
        lower_bound: Epsilon is at least so much; None where the attack measures no epsilon.
        claim: Epsilon that is claimed; None where there is no such claim.
        holds: Whether the claim, of epsilon or in words, survived; None where none is made.
        numbers: The figures behind the words.
    """

    name: str
    gain: str
    lower_bound: float | None
    claim: float | None
    holds: bool | None
    numbers: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """The finding in a word."""
        if self.holds is None:
            return "no claim"
        return "holds" if self.holds else "EXCEEDED"


def bounded(
    name: str, gain: str, lower_bound: float, claim: float, numbers: dict[str, Any]
) -> Finding:
    """A finding whose claim is an epsilon."""
    return Finding(name, gain, lower_bound, claim, lower_bound <= claim, numbers)


@dataclass(frozen=True)
class AttackReport:
    """What `securefl audit attack` reports.

    Attributes:
        member: The retailer whose released model was attacked.
        unit: Whom the claim is for.
        epsilon: What the member says it spent.
        delta: At which delta.
        canaries: Canaries that a coin put in or out.
        rounds: Rounds that were trained.
        seed: Fixes data, coins and model; the noise is the operating system's.
        confidence: Of each lower bound by itself.
        seconds: Wall time.
        findings: One an attack.
    """

    member: str
    unit: str
    epsilon: float
    delta: float
    canaries: int
    rounds: int
    seed: int
    confidence: float
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no claim was refuted."""
        return all(finding.holds is not False for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        attacks = [
            {**asdict(finding), "verdict": finding.verdict.lower()} for finding in self.findings
        ]
        for entry in attacks:
            del entry["holds"]
        settings = {name: value for name, value in vars(self).items() if name != "findings"}
        report: dict[str, Any] = json_ready(
            {
                "verdict": "pass" if self.passed else "fail",
                **settings,
                "attacks": attacks,
                "not_shown": list(NOT_SHOWN),
            }
        )
        return report
