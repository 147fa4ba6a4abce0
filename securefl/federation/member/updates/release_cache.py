"""What a member released last: a run that goes on sends it again, and pays for nothing twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from securefl.ml.parameters import FloatVector, UpdateVector
from securefl.ml.tensor_io import read_tensors, write_tensors


class ReleaseCache:
    """A member's file of its last release and of the model that it was made from.

    Args:
        path: The file.
        name: What the release is called in it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    def get(self, number: int, start: FloatVector) -> tuple[UpdateVector, str] | None:
        """Return the release of round `number` from the model `start`, and what was noted with it.

        None if it was not made before.
        """
        if not self._path.exists():
            return None
        tensors, metadata = read_tensors(self._path)
        same = metadata["round"] == str(number) and np.array_equal(tensors["start"].numpy(), start)
        return (tensors[self._name].numpy(), metadata["note"]) if same else None

    def put(self, number: int, start: FloatVector, release: UpdateVector, note: str = "") -> None:
        """Make a release durable, before it leaves; the note is no secret."""
        vectors = {"start": start, self._name: release}
        tensors = {name: torch.from_numpy(vector) for name, vector in vectors.items()}
        write_tensors(self._path, tensors, {"round": str(number), "note": note})
