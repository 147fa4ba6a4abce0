"""Vectors of a model as they cross the wire, and what stands for one in a signature; no torch here.

An auditor follows models from sums without training any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from securefl_protocols.wire.context import labelled_digest

MODEL_LABEL = b"securefl/1/model"
LAYOUT_LABEL = b"securefl/1/model-layout"

ORDER = "order"
"""Metadata key of a released model: its tensors' names in the order of the shared vector, JSON."""

FloatVector = npt.NDArray[np.float32]
UpdateVector = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def model_digest(shared: FloatVector) -> bytes:
    """32 bytes that stand for the shared model (float32 [d], little-endian) in every context."""
    octets = np.ascontiguousarray(shared, dtype="<f4").view(np.uint8)
    return labelled_digest(MODEL_LABEL, octets.data)


def layout_digest(tensors: Iterable[tuple[str, Sequence[int]]]) -> bytes:
    """32 bytes that stand for what the values of a shared model mean: its tensors, in their order.

    The digest of the values covers none of this: two tensors of one shape could change their names.

    Args:
        tensors: Name and shape of each, in the order of the shared vector.
    """
    texts = ((name, ",".join(map(str, shape))) for name, shape in tensors)
    return labelled_digest(LAYOUT_LABEL, *(text.encode() for pair in texts for text in pair))
