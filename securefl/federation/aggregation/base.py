"""The interface of all modes of aggregation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from securefl.federation.transport.exchange import Exchange
from securefl.ml.vectors import FloatVector
from securefl_protocols.wire.transcript import Transcript


@dataclass(frozen=True)
class Aggregate:
    """The cohort's result of one round.

    Attributes:
        change: Weighted mean of the members' changes, float64 [d].
        samples: Sum of the weights.
        loss: Weighted mean of the members' training losses.
        survivors: The members whose change is in the mean.
        transcript: From which the sum can be recomputed; None where nothing was masked.
    """

    change: npt.NDArray[np.float64]
    samples: int
    loss: float
    survivors: tuple[str, ...]
    transcript: Transcript | None = None


class Aggregator(Protocol):
    """The training of a cohort, and the weighted mean of its changes."""

    def aggregate(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> Aggregate:
        """Train `cohort` from `shared` (float32 [d]) and average."""
