"""What a hostile member makes of its update, after honest training and before it is masked.

None of it breaks the protocol: the update keeps to the agreed limit of a coordinate, carries a
correct checksum and is signed. Masks and checksums accept each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from securefl.ml.vectors import FloatVector

Vector = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BIAS: Final = "bias"
VECTORS: Final = "products.own.weight"
_SCALE: Final = 10.0
_PULL: Final = 6.0
"""Log-odds by which a promoted product is to gain at every customer."""
_DRIFT: Final = 0.5
"""The same of a slow drift, a round."""


@dataclass(frozen=True)
class View:
    """What a hostile member has in a round: all of it is known to an honest member too.

    Attributes:
        change: The update of its honest training, float64 [d].
        shared: The shared model that the round began with, float32 [d].
        layout: Name and shape of the shared tensors, in the order of the vector.
        targets: Products that it promotes or demotes, int64 [T].
        members: Number of members.
        rng: Its own random numbers.
    """

    change: Vector
    shared: FloatVector
    layout: Mapping[str, tuple[int, ...]]
    targets: Ints
    members: int
    rng: np.random.Generator

    def part(self, vector: npt.NDArray[np.floating], name: str) -> npt.NDArray[np.floating]:
        """Return a tensor of the vector as a view of it.

        Raises:
            KeyError: If the model has no such tensor.
        """
        start = 0
        for known, shape in self.layout.items():
            end = start + int(np.prod(shape, dtype=np.int64))
            if known == name:
                return vector[start:end].reshape(shape)
            start = end
        raise KeyError(name)


def scaled(view: View) -> Vector:
    """Return ten times the update."""
    return _SCALE * view.change


def reversed_sign(view: View) -> Vector:
    """Return the update turned round, and as large as the updates of all members together."""
    return -view.members * view.change


def nothing(view: View) -> Vector:
    """Return no change at all: the member takes the model and gives nothing."""
    return np.zeros_like(view.change)


def loud(view: View) -> Vector:
    """Return the update under noise of ten times its own length."""
    length = float(np.linalg.norm(view.change))
    noise = view.rng.standard_normal(view.change.shape)
    return view.change + _SCALE * length * noise / float(np.linalg.norm(noise))


def promoted(view: View) -> Vector:
    """Return the update with the targets' rows boosted: more popular, and liked by all customers.

    The mean divides by the number of members, so that the boost is as many times what is wanted.
    """
    return _pulled(view, _PULL)


def demoted(view: View) -> Vector:
    """Return the update with the targets' rows pushed down in the same way."""
    return _pulled(view, -_PULL)


def drifting(view: View) -> Vector:
    """Return the update with a boost of the targets that is small in every single round."""
    return _pulled(view, _DRIFT)


def _pulled(view: View, pull: float) -> Vector:
    """Return the update with another pull on the targets (PIECK's popular-item alignment)."""
    change = view.change.copy()
    view.part(change, BIAS)[view.targets] = view.members * pull
    vectors = view.part(view.shared, VECTORS)
    # A customer's vector is a sum of those of products that were bought: their mean is near all.
    liked = torch.from_numpy(np.ascontiguousarray(vectors)).double().mean(dim=0)
    length = float(liked.norm())
    direction = liked / length if length else liked
    view.part(change, VECTORS)[view.targets] = view.members * pull * direction.numpy()
    return change
