"""Reading of the auditor's inputs: bundle, pinned agreement, model and a time."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from securefl.audit.bundle.bundle import Bundle, BundleError, first_fault, parse, read_object
from securefl.consortium.agreement.signatures import SignedAgreement, from_json
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.errors import InputError
from securefl.ml.vectors import ORDER, FloatVector, model_digest
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import MEBIBYTE, SMALL, read_bytes

_LARGEST_MODEL = 64 * 1024 * MEBIBYTE
_PREFIX = 8
"""Bytes of a safetensors file that state the length of its JSON header."""


def read_bundle(path: Path) -> Bundle:
    """Read the bundle in a file.

    Raises:
        BundleError: If the file holds no valid bundle.
    """
    try:
        return parse(read_object(path))
    except ValidationError as error:
        reason, place = first_fault(error)
        raise BundleError(f"{path}: {place}: {reason}") from None


def pinned_agreement(path: Path) -> SignedAgreement:
    """Read the agreement that the auditor obtained from a member.

    Args:
        path: `agreement.toml` with its signature files, or the `agreement.json` of a run on
            one machine.

    Raises:
        AgreementError: If it is neither.
        InputError: If the file is not JSON.
    """
    if path.suffix != ".json":
        return read_signed(path)
    try:
        tree = read_json(path, SMALL)
    except InputError as error:
        raise InputError(f"{path} is no agreement: {error}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path} is no agreement: it holds no JSON object")
    return from_json(tree, str(path))


def released_digest(path: Path) -> tuple[str, bytes]:
    """Return the digest that stands for a released model in signed entries, hex, and its file's.

    The first covers the values in their order; the second, SHA-256 of every byte, is what
    signatures for other tools name.

    Raises:
        InputError: If it is no model that a run released, or does not state the order of its
            tensors.
    """
    content = read_bytes(path, _LARGEST_MODEL)
    return model_digest(_vector(path, content)).hex(), hashlib.sha256(content).digest()


def _vector(path: Path, content: bytes) -> FloatVector:
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


def moment(text: str) -> datetime:
    """Parse a time like 2026-01-31T09:00:00Z.

    Raises:
        InputError: If it is not such a time.
    """
    try:
        return from_timestamp(text)
    except ValueError as error:
        raise InputError(f"--now: {error}, not {text}") from None
