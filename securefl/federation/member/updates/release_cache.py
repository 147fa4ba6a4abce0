"""A member's last release: a resumed run sends it again, so that it is charged once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from securefl.ml.tensor_io import read_tensors, write_tensors
from securefl.ml.vectors import FloatVector, UpdateVector


class ReleaseCache:
    """A file of a member's last release and of the model that it was made from.

    Args:
        path: The file.
        name: The release's name in it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    def get(self, number: int, start: FloatVector) -> tuple[UpdateVector, str] | None:
        """Return the release of round `number` from the model `start`, with its note, or None."""
        if not self._path.exists():
            return None
        tensors, metadata = read_tensors(self._path)
        # Of another model, the release would be of another round's training: it is made anew, and
        # charged anew.
        same = metadata["round"] == str(number) and np.array_equal(tensors["start"].numpy(), start)
        return (tensors[self._name].numpy(), metadata["note"]) if same else None

    def put(self, number: int, start: FloatVector, release: UpdateVector, note: str = "") -> None:
        """Make a release durable, before it leaves; the note is not secret."""
        vectors = {"start": start, self._name: release}
        tensors = {name: torch.from_numpy(vector) for name, vector in vectors.items()}
        write_tensors(self._path, tensors, {"round": str(number), "note": note})
