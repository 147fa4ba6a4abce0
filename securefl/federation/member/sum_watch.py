"""A member's own look at each sum that it verified, for its own log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from securefl.config.schema import RunConfig
from securefl.federation.aggregation.sum_figures import RecentSums, SumReader

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)


class SumWatch:
    """Compares sums with those before them; after a restart it begins anew.

    Args:
        reader: Reads sums of the run's model.
    """

    def __init__(self, reader: SumReader) -> None:
        self._reader = reader
        self._recent = RecentSums()
        self._last = (0, 0.0)  # round, deviations of the row that stands out

    @classmethod
    def of(cls, model: nn.Module, config: RunConfig) -> Self:
        """Return the watch of a member's model, whose shapes alone are used."""
        return cls(SumReader(model, config.secure.limit))

    def note(self, number: int, change: npt.NDArray[np.float64], samples: int) -> tuple[str, ...]:
        """Log, and return, what is out of the ordinary in the sum of a round.

        Args:
            number: The round.
            change: The mean change, float64 [d].
            samples: Its total weight.
        """
        figures = self._reader.figures(change, samples)
        self._last = number, figures.row_score
        found = self._recent.note(number, figures)
        for remark in found:
            _log.info("the sum of round %d is out of the ordinary: %s", number, remark)
        return found

    def row_score(self, number: int) -> float:
        """Return by how far a product's row stood out in the last sum; 0 of any other round.

        So it is after a restart in the middle of a round: that member's vote is by the rest.
        """
        return self._last[1] if self._last[0] == number else 0.0
