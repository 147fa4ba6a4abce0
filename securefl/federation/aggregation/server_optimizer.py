"""The server optimizers that apply the cohort's weighted mean change: FedAvg, FedAvgM, FedAdam."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from securefl.config.schema import ServerSettings
from securefl.ml.vectors import FloatVector

DoubleVector = npt.NDArray[np.float64]


class ServerOptimizer:
    """The optimizer of the shared model; its state is part of the checkpoint.

    Algorithm 2 of Reddi et al. 2021 (Adaptive Federated Optimization). FedAvg adds the mean change,
    FedAvgM keeps a momentum of it, FedAdam divides that by the root of the second moment; as in the
    paper, neither moment is corrected for its bias.

    Attributes:
        moments: By name, float64 [d]; none for FedAvg.
    """

    def __init__(self, settings: ServerSettings, dimension: int) -> None:
        self.settings = settings
        self.moments: dict[str, DoubleVector] = {
            name: np.zeros(dimension) for name in _MOMENTS[settings.optimizer]
        }

    def apply(self, shared: FloatVector, change: DoubleVector) -> FloatVector:
        """Return the next shared model, float32 [d].

        Args:
            shared: The present shared model, float32 [d].
            change: The cohort's mean change, float64 [d].
        """
        # Members repeat this computation to verify the next model, so it has to give the same bits
        # everywhere: float64 throughout, and one rounding at the end.
        step = self.settings.learning_rate * self._direction(change)
        step += shared
        return step.astype(np.float32)

    def _direction(self, change: DoubleVector) -> DoubleVector:
        if self.settings.optimizer == "fedavg":
            return change
        first = self.moments["first"]
        first *= self.settings.momentum
        if self.settings.optimizer == "fedavgm":
            first += change
            return first
        first += (1 - self.settings.momentum) * change
        second = self.moments["second"]
        second *= self.settings.second_moment
        second += (1 - self.settings.second_moment) * np.square(change)
        direction: DoubleVector = first / (np.sqrt(second) + self.settings.epsilon)
        return direction

    def restore(self, moments: Mapping[str, DoubleVector]) -> None:
        """Take the moments from a checkpoint."""
        self.moments = {name: moments[name].copy() for name in self.moments}

    def pack(self) -> bytes:
        """Return the moments, one behind the other, as `<f8` bytes; empty for FedAvg."""
        return b"".join(
            moment.astype("<f8", copy=False).tobytes() for moment in self.moments.values()
        )

    def unpack(self, data: bytes) -> None:
        """Take the moments from bytes of `pack`.

        Raises:
            ValueError: If they are of another optimizer or length.
        """
        read = np.frombuffer(data, dtype="<f8").astype(np.float64)
        length = sum(moment.size for moment in self.moments.values())
        if read.size != length:
            raise ValueError(f"{read.size} numbers are not the {length} of the moments")
        parts = np.split(read, len(self.moments)) if self.moments else []
        self.moments = dict(zip(self.moments, parts, strict=True))


_MOMENTS: dict[str, tuple[str, ...]] = {
    "fedavg": (),
    "fedavgm": ("first",),
    "fedadam": ("first", "second"),
}
