"""Verification of the shared model: a member computes the next one from the last and the sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from securefl.config.schema import ServerSettings
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.messages import pack_vector
from securefl.ml.vectors import FloatVector, model_digest


class ModelVerifier:
    """The shared model as it follows from the sums that the member has verified.

    Without it, the sum could be right and the next model anything that the coordinator chooses: one
    made to extract members' data, or an old one under a new number. A server optimizer with moments
    can be followed only by a member that saw every sum; with FedAvg, one sum is enough.

    Attributes:
        waiting: Whether we helped to unmask a sum that was not shown to us yet.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.waiting = False
        self._settings = settings
        self._server: ServerOptimizer | None = None
        self._round = 0
        self._before: dict[str, npt.NDArray[np.float64]] | None = None
        self._expected: FloatVector | None = None

    def wait(self) -> None:
        """Note that our shares for a sum have left: no later round is entered before the sum.

        Else a coordinator could withhold sums, and with them what the next model is checked with.
        """
        self.waiting = True

    def follow(self, number: int, shared: FloatVector, change: npt.NDArray[np.float64]) -> None:
        """Take the verified mean change of a round (float64 [d]) that started from `shared`."""
        self.waiting = False
        if self._server is None:
            self._server = ServerOptimizer(self._settings, shared.shape[0])
        if number == self._round and self._before is not None:
            self._server.restore(self._before)  # a repeated round takes the place of the first
            self._round -= 1
        # After a missed sum, the moments are unknown: no expectation is better than a wrong one,
        # which would make this member reject the models of an honest coordinator.
        if number == self._round + 1 or not self._server.moments:
            self._before = {name: part.copy() for name, part in self._server.moments.items()}
            self._round, self._expected = number, self._server.apply(shared, change)

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as `<f4` bytes; None if unknown."""
        return None if self._expected is None else pack_vector(self._expected)

    def state(self) -> dict[str, Any]:
        """Return what a restarted member needs, as plain values."""
        moments = {} if self._server is None else self._server.moments
        return {
            "waiting": self.waiting,
            "round": self._round,
            "expected": self.following(),
            "moments": {name: part.astype("<f8").tobytes() for name, part in moments.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a `state`."""
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

    def derived(self, number: int) -> bytes | None:
        """Return the digest of the model that round `number` ended with; None where unknown."""
        if self._expected is None or number != self._round:
            return None
        return model_digest(self._expected)

    def is_expected(self, number: int, shared: FloatVector) -> bool:
        """Return whether round `number` may have ended with `shared`; True where unknown."""
        if self._expected is None or number != self._round:
            return True
        return np.array_equal(shared, self._expected)
