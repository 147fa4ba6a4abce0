"""The next model follows from the last one and the sum: a member computes it for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from securefl.config.schema import ServerSettings
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.messages import pack_vector
from securefl.ml.parameters import FloatVector


class ModelVerifier:
    """What a member knows of the shared model from the sums that it has verified.

    Without it, the sum could be right and the next model anything that the coordinator likes: one
    made to lay members' data open, or an old one under a new number. A server optimizer with
    moments can be followed only by a member that saw every sum; with FedAvg, one sum is enough.

    Attributes:
        waiting: We helped to unmask a sum that was not shown to us yet.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.waiting = False
        self._settings = settings
        self._server: ServerOptimizer | None = None
        self._round = 0
        self._expected: FloatVector | None = None

    def wait(self) -> None:
        """Our shares for a sum have left; no later round is entered before the sum is here."""
        self.waiting = True

    def follow(self, number: int, shared: FloatVector, change: npt.NDArray[np.float64]) -> None:
        """Take the verified mean change of a round (float64 [d]) that started from `shared`."""
        self.waiting = False
        if self._server is None:
            self._server = ServerOptimizer(self._settings, shared.shape[0])
        if number == self._round + 1 or not self._server.moments:
            self._round, self._expected = number, self._server.apply(shared, change)

    def following(self) -> bytes | None:
        """Return the model that the last sum led to, as little-endian float32; None if we cannot tell."""
        return None if self._expected is None else pack_vector(self._expected)

    def state(self) -> dict[str, Any]:
        """Return what a member that is restarted has to know, as plain values."""
        moments = {} if self._server is None else self._server.moments
        return {
            "waiting": self.waiting,
            "round": self._round,
            "expected": self.following(),
            "moments": {name: part.astype("<f8").tobytes() for name, part in moments.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.waiting, self._round = state["waiting"], state["round"]
        if state["expected"] is None:
            return
        self._expected = np.frombuffer(state["expected"], dtype="<f4").astype(np.float32)
        self._server = ServerOptimizer(self._settings, self._expected.shape[0])
        self._server.restore(
            {
                name: np.frombuffer(part, dtype="<f8").astype(np.float64)
                for name, part in state["moments"].items()
            }
        )

    def is_expected(self, number: int, shared: FloatVector) -> bool:
        """Return whether `shared` may be what round `number` ended with, as far as we can tell."""
        if self._expected is None or number != self._round:
            return True
        return np.array_equal(shared, self._expected)
