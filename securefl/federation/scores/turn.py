"""A member's own update beside the change that a round made of all of them: scalars alone.

What a member has alone is its own part of the sum. Without it, the change is the mean of the
others; a part that was scaled, turned round or replaced makes that mean longer, turns it away from
the member's own update, or from what it was in the round before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from securefl.config.schema import ServerSettings
from securefl.ml.vectors import FloatVector, UpdateVector

_LAYER: Final = 16
"""Numbers of a layer below which two updates of it are alike by chance."""
_EXACT: Final = 1e-12
"""Share of a squared length below which what is left of it is rounding."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A member's part in a sum.

    Attributes:
        weight: Its share of the total weight, which it knows from the sum.
        members: Members in the sum.
    """

    weight: float
    members: int

    @property
    def cosine(self) -> float:
        """The cosine between a member's update and a mean in which all others are at right angles.

        They are as long as its own, and of equal weights. Updates of honest members have something
        in common, so that theirs is larger; a small member's is small in either case.
        """
        others = (1.0 - self.weight) ** 2 / max(self.members - 1, 1)
        return self.weight / math.sqrt(self.weight**2 + others)

    @property
    def longest(self) -> float:
        """How many times as long as its own an update of the usual other member may be.

        Updates grow with the root of the samples at most, as the steps of training partly cancel. A
        member with less weight than the mean of the others expects longer ones; with more weight it
        expects none that is longer than its own.
        """
        return max(1.0, self.usual)

    @property
    def usual(self) -> float:
        """How many times as long as its own the others' updates are, by the root of the samples."""
        others = (1.0 - self.weight) / max(self.members - 1, 1)
        return math.sqrt(others / self.weight) if self.weight > 0 else math.inf

    @property
    def apart(self) -> float:
        """The most that a mean of others has at right angles to an update, if all are as long.

        With n - 1 others of cosine p to it and to each other, the mean's squared length is p +
        (1 - p)a, with a = 1 / (n - 1), and p^2 of it points along the update. What is left is
        largest at p = (1 - a) / 2, where it is ((1 + a) / 2)^2.
        """
        return (1.0 + 1.0 / max(self.members - 1, 1)) / 2.0


@dataclass(frozen=True)
class RoundPart:
    """What a member keeps of a round: its own update (float64 [d]), its part, the mean change."""

    own: Doubles
    part: Part
    change: Doubles

    @classmethod
    def of(
        cls,
        server: ServerSettings,
        own: tuple[UpdateVector, Part],
        began: FloatVector,
        ended: FloatVector,
    ) -> Self | None:
        """Return a round's; None where the change is not the mean, or a vector says nothing.

        Args:
            server: How the mean change is applied.
            own: The member's own change, [d], and its part in the sum.
            began: The model before, float32 [d].
            ended: The model after, float32 [d].
        """
        if server.optimizer != "fedavg":
            return None
        change: Doubles = (ended.astype(np.float64) - began) / server.learning_rate
        found = cls(own[0].astype(np.float64), own[1], change)
        lengths = float(found.own @ found.own), float(change @ change)
        return found if all(lengths) and all(map(math.isfinite, lengths)) else None

    def state(self) -> dict[str, Any]:
        """Return it as plain values, to seven digits of each coordinate."""
        return {
            "own": self.own.astype("<f4").tobytes(),
            "change": self.change.astype("<f4").tobytes(),
            "part": [self.part.weight, self.part.members],
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Return the inverse of `state`."""
        own, change = (
            np.frombuffer(state[name], "<f4").astype(np.float64) for name in ("own", "change")
        )
        return cls(own, Part(*state["part"]), change)

    def common(self, layers: Sequence[slice]) -> float:
        """Return which part of the own update the others' mean has, in the layer with the most.

        What a model learns first is common to all members, in one layer at least: how much is sold
        of what, the level of demand. A part of the mean that is turned round takes it away, whoever
        sent it. Over the length of others that is usual for a part of this weight.

        Args:
            layers: Where each tensor stands in the vectors.
        """
        parts = (self._common(layer) for layer in layers)
        return max((part for part in parts if part is not None), default=math.nan)

    def _common(self, layer: slice) -> float | None:
        weight, own = self.part.weight, self.own[layer]
        length = float(own @ own)
        if len(own) < _LAYER or not length or not 0.0 < weight < 1.0:
            return None
        along = (float(own @ self.change[layer]) - weight * length) / (1.0 - weight)
        return along / length / self.part.usual

    def others(self, earlier: RoundPart) -> float:
        """Return the product of the others' means of two rounds."""
        mine, before = self.part.weight, earlier.part.weight
        product = (
            self.change @ earlier.change
            - mine * (self.own @ earlier.change)
            - before * (self.change @ earlier.own)
            + mine * before * (self.own @ earlier.own)
        )
        return float(product) / ((1.0 - mine) * (1.0 - before))


@dataclass(frozen=True)
class Turn:
    """What a member's own update says of a round's change; not a number where it says nothing.

    Attributes:
        direction: Cosine between own update and change, over that of its part alone.
        length: Length of the mean of the others, in lengths of the own update, over the longest
            that is usual for a part of this weight.
        apart: The same of what is at right angles to the own update, over the most of honest ones.
        turned: By how much less the mean of the others kept its direction since the last accepted
            round than the own update did, as a difference of cosines.
        row: Deviations by which a product's row moved further than others; public.
        common: In a first round, which part of the own update the others' mean has in the layer
            with the most; see `RoundPart.common`.
    """

    direction: float = math.nan
    length: float = math.nan
    apart: float = math.nan
    turned: float = math.nan
    row: float = 0.0
    common: float = math.nan

    @classmethod
    def of(
        cls,
        now: RoundPart | None,
        earlier: RoundPart | None = None,
        row: float = 0.0,
        layers: Sequence[slice] = (),
    ) -> Self:
        """Return what a member sees of a round.

        Args:
            now: The round.
            earlier: The last accepted round, if that is the one before; None where it is unknown.
            row: See the class.
            layers: Of a round that began from a model that nobody has trained: where each tensor
                stands in the vectors.
        """
        if now is None:
            return cls(row=row)
        own, change = float(now.own @ now.own), float(now.change @ now.change)
        product, part = float(now.own @ now.change), now.part
        direction = product / math.sqrt(own * change) / part.cosine if part.cosine else math.nan
        if not 0.0 < part.weight < 1.0:
            return cls(direction, row=row)
        along = (product - part.weight * own) / (1.0 - part.weight)
        others = _others(own, change, product, part.weight)
        aside = max(others - along**2 / own, 0.0)
        usual = part.longest * math.sqrt(own)
        return cls(
            direction,
            math.sqrt(others) / usual,
            math.sqrt(aside) / usual / part.apart,
            math.nan if earlier is None else _turned(now, earlier, (own, others)),
            row,
            now.common(layers),
        )


def _others(own: float, change: float, product: float, weight: float) -> float:
    """Return the squared length of the others' mean, from squared lengths and their product."""
    left = change - 2.0 * weight * product + weight**2 * own
    return left / (1.0 - weight) ** 2 if left > _EXACT * change else 0.0


def _turned(now: RoundPart, earlier: RoundPart, lengths: tuple[float, float]) -> float:
    """Return cosine of the own updates of two rounds, less that of the others' means."""
    if not 0.0 < earlier.part.weight < 1.0:
        return math.nan
    before = float(earlier.own @ earlier.own)
    others = earlier.others(earlier)
    if not lengths[1] > 0.0 or not others > 0.0:
        return math.nan
    kept = float(now.own @ earlier.own) / math.sqrt(lengths[0] * before)
    return kept - now.others(earlier) / math.sqrt(lengths[1] * others)
