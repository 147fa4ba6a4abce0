"""A metric's name, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class MetricSpec:
    """A metric's name and which way is better.

    Attributes:
        name: Its name.
        higher_is_better: Whether more is better.
        counted_as: Name of its denominator, equal in all metrics with that name; empty for a
            denominator of its own.
        root: Whether it is the root of its quotient.
    """

    name: str
    higher_is_better: bool
    counted_as: str = ""
    root: bool = False

    @property
    def denominator(self) -> str:
        """The name of its denominator, unique to it where no other metric has the same."""
        return self.counted_as or f"of {self.name}"

    def better(self, candidate: float, reference: float) -> bool:
        """Return whether `candidate` beats `reference`; NaN never does."""
        return candidate > reference if self.higher_is_better else candidate < reference
