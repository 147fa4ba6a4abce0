"""The attack report: findings compared with the claimed epsilon."""

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
    """Result of one attack.

    Attributes:
        name: Name of the attack.
        gain: Description of the attacker's success.
        lower_bound: Lower bound of epsilon; None where the attack measures no epsilon.
        claim: Claimed epsilon; None where none is claimed.
        holds: Whether the claim was not refuted; None where no claim is made.
        numbers: Underlying figures.
    """

    name: str
    gain: str
    lower_bound: float | None
    claim: float | None
    holds: bool | None
    numbers: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of the finding."""
        if self.holds is None:
            return "no claim"
        return "holds" if self.holds else "EXCEEDED"


def bounded(
    name: str, gain: str, lower_bound: float, claim: float, numbers: dict[str, Any]
) -> Finding:
    """Return a finding that compares an epsilon lower bound with a claimed epsilon."""
    return Finding(name, gain, lower_bound, claim, lower_bound <= claim, numbers)


@dataclass(frozen=True)
class AttackReport:
    """Report of `securefl audit attack`.

    Attributes:
        member: The retailer whose released model was attacked.
        unit: Privacy unit of the claim.
        epsilon: Claimed epsilon.
        delta: Delta of the claim.
        canaries: Number of canaries, each included with probability 1/2.
        rounds: Number of trained rounds.
        seed: Seed of data, inclusion and model; the noise comes from the operating system.
        confidence: Confidence level of each single lower bound.
        seconds: Wall time.
        findings: One finding for each attack.
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
        """Return whether no claim was refuted."""
        return all(finding.holds is not False for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
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
