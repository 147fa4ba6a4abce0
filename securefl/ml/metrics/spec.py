"""A metric's name, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class MetricSpec:
    """A metric's name and which way is better."""

    name: str
    higher_is_better: bool

    def better(self, candidate: float, reference: float) -> bool:
        """Return whether `candidate` beats `reference`; NaN never does."""
        return candidate > reference if self.higher_is_better else candidate < reference
