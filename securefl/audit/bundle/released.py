"""Reading of a released model (safetensors) without the code that made it, and without torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

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
    content = read_bytes(path, _LARGEST)
    end = _PREFIX + int.from_bytes(content[:_PREFIX], "little")
    try:
        header = json.loads(content[_PREFIX:end])
        metadata = json.loads(header.pop("__metadata__")["securefl"])
        order = json.loads(metadata.get(ORDER, "[]"))
        parts = {name: _values(content[end:], entry) for name, entry in header.items()}
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path} is no released model") from None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(parts):
        raise InputError(f"{path} does not state the order of its tensors")
    found = np.frombuffer(b"".join(parts[name] for name in order), dtype="<f4")
    return found.astype(np.float32, copy=False)


def _values(data: bytes, entry: dict[str, Any]) -> bytes:
    """Return the bytes of one tensor.

    Raises:
        ValueError: If it is not of type float32, or its place does not fit its shape.
    """
    first, last = entry["data_offsets"]
    if entry["dtype"] != "F32" or not 0 <= first <= last <= len(data):
        raise ValueError(f"no tensor of float32: {entry}")
    if last - first != 4 * math.prod(entry["shape"]):
        raise ValueError("a tensor of another size than its shape")
    return data[first:last]
