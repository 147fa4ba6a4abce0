"""The interface of all modes of aggregation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from securefl.federation.aggregation.model_proofs import ModelProof
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
        signatures: Member to its signature under the round's end, from those that verified the sum;
            none where nothing was masked. Not verified yet; see `ModelProof.of`.
    """

    change: npt.NDArray[np.float64]
    samples: int
    loss: float
    survivors: tuple[str, ...]
    transcript: Transcript | None = None
    signatures: Mapping[str, bytes] = field(default_factory=dict)


class Aggregator(Protocol):
    """The training of a cohort, and the weighted mean of its changes."""

    def aggregate(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> Aggregate:
        """Train `cohort` from `shared` (float32 [d]) and average."""

    def hand_over(self, proof: ModelProof, moments: bytes, known_to: Collection[str]) -> None:
        """Take what proves the next round's model to members that did not verify it themselves.

        Args:
            proof: The proof of how the last round ended.
            moments: The server optimizer's moments, as `ServerOptimizer.pack` returns them.
            known_to: The members that need neither.
        """
