"""What one privacy unit may add to the released scores: a public table that a task declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SCORES_LABEL: Final = b"securefl/1/scores"
"""Labels every digest of scores: their bounds, their sessions, the models that they are of."""
CASES: Final = "cases"
"""The name of the denominator of metrics that are means over held-out cases."""


@dataclass(frozen=True)
class ScoreBound:
    """The largest part of one unit in a metric's numerator and denominator.

    A unit with a larger part is clipped to it, whatever its data are.

    Attributes:
        numerator: Largest magnitude that a unit adds to the numerator, in the metric's own unit.
        count: Largest number that a unit adds to the denominator.
        counted_as: Name of the denominator. Metrics with the same name have the same denominator,
            which is released once.

    Raises:
        ValueError: If a bound is not positive and finite.
    """

    numerator: float
    count: float = 1.0
    counted_as: str = CASES

    def __post_init__(self) -> None:
        if not all(math.isfinite(bound) and bound > 0 for bound in (self.numerator, self.count)):
            raise ValueError(f"a score has no usable bound: {self}")


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a model that one unit moves by no more than a bound, and that may leave.

    A score belongs here only if no other unit's part of it changes when a unit is added or removed:
    what a retailer fits to all its customers (a local model, its popularity list, a weight that is
    selected on validation) moves everyone's part, and no bound on single parts covers that.

    Attributes:
        arm: The scored arm, as results call it: `federated`, or `released` for the shared model
            without personalization.
        metrics: Metric to its bound.

    Raises:
        ValueError: If two metrics of one denominator bound its count differently, or none is left.
    """

    arm: str
    metrics: Mapping[str, ScoreBound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ValueError("a table of scores without a metric")
        for bound in self.metrics.values():
            if self.counts[bound.counted_as] != bound.count:
                raise ValueError(f"two bounds on one denominator: '{bound.counted_as}'")

    @property
    def counts(self) -> dict[str, float]:
        """Denominator to the largest count that a unit adds to it, in order of first use."""
        found: dict[str, float] = {}
        for bound in self.metrics.values():
            found.setdefault(bound.counted_as, bound.count)
        return found

    @property
    def largest(self) -> tuple[float, ...]:
        """Largest magnitude of a unit in each released coordinate: numerators, then counts."""
        return (*(bound.numerator for bound in self.metrics.values()), *self.counts.values())

    @property
    def dimension(self) -> int:
        """Number of released coordinates; equal denominators are one."""
        return len(self.metrics) + len(self.counts)
