"""What the observer of a simulation asks, beside the federation.

No member answers these: only the wrapper that a simulation builds around one does, because one
machine has all members' data anyway. A member on a machine of its own refuses them by name.
"""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt

from securefl.federation.messages.base import Message
from securefl.federation.messages.training import SplitName


class DebugDisclose(Message):
    """Observer to member, in `securefl compare` alone: disclose the round's update."""

    kind: Literal["reveal"] = "reveal"
    round: NonNegativeInt


class ObserveRounding(Message):
    """Observer to member, in `securefl compare` alone: disclose what the round was rounded with."""

    kind: Literal["observe-rounding"] = "observe-rounding"
    round: NonNegativeInt


class Rounding(Message):
    """Member to observer.

    Attributes:
        key: 32 bytes, of rounding at random.
    """

    kind: Literal["rounding"] = "rounding"
    key: bytes


class ObserveModel(Message):
    """Observer to member: score this shared model.

    Attributes:
        shared: The model, float32 [d].
        split: The cases.
        local: Beside which local parameters: the present ones, those of the kept round, those
            before the first round, or none.
    """

    kind: Literal["observe-model"] = "observe-model"
    shared: bytes
    split: SplitName
    local: Literal["present", "kept", "start", "none"]


class ObserveBaseline(Message):
    """Observer to member: score the baseline on the test cases.

    Attributes:
        noised: Under noise of the run's whole budget.
    """

    kind: Literal["observe-baseline"] = "observe-baseline"
    noised: bool


class ObserveLocalOnly(Message):
    """Observer to member, or to all data in one place: train without the federation.

    Attributes:
        shared: The start, float32 [d].
    """

    kind: Literal["observe-local-only"] = "observe-local-only"
    shared: bytes
