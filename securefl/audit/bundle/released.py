"""Reading of a released model without the code that made it, and without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from securefl.errors import InputError
from securefl.ml.vectors import ORDER, FloatVector, model_digest
from securefl.untrusted.files import MEBIBYTE, read_bytes

_LARGEST = 64 * 1024 * MEBIBYTE
_PREFIX = 8
"""Bytes of a safetensors file that state the length of its JSON header."""


def released_digest(path: Path) -> str:
    """Return the digest that stands for a released model in signed entries, hex.

    Raises:
        InputError: If it is no model that a run released, or does not state the order of its
            tensors.
    """
    return model_digest(_vector(path)).hex()


def _vector(path: Path) -> FloatVector:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read_bytes(path, _LARGEST)
    try:
        tensors = load(content)
        length = int.from_bytes(content[:_PREFIX], "little")
        header = json.loads(content[_PREFIX : _PREFIX + length])
        metadata = json.loads(header.get("__metadata__", {}).get("securefl", "{}"))
        order = json.loads(metadata.get(ORDER, "[]"))
    except (SafetensorError, ValueError, AttributeError, TypeError, RecursionError):
        raise InputError(f"{path} is no released model") from None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(tensors):
        raise InputError(f"{path} does not state the order of its tensors")
    if any(tensor.dtype != np.float32 for tensor in tensors.values()):
        raise InputError(f"{path} is no released model: its numbers are not float32")
    parts = [tensors[name].reshape(-1) for name in order]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
