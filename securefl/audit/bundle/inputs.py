"""Reading of the auditor's inputs: bundle, pinned agreement, model and a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from securefl.audit.bundle.bundle import (
    MOST_COORDINATES,
    Bundle,
    BundleError,
    first_fault,
    parse,
    read_object,
)
from securefl.consortium.agreement.signatures import SignedAgreement, from_json
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.errors import InputError
from securefl.ml.vectors import ORDER, FloatVector, layout_digest, model_digest
from securefl.untrusted.documents import parse_json, read_json
from securefl.untrusted.files import MEBIBYTE, SMALL, read_bytes
from securefl.untrusted.tensors import METADATA, tensor_header

_LARGEST_MODEL = 4 * MOST_COORDINATES + 4 * MEBIBYTE
"""Bytes of the largest model whose rounds can be audited, and of a header."""
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


@dataclass(frozen=True, slots=True)
class ReleasedModel:
    """What a released model's file says.

    Attributes:
        values: The digest that stands for the model in signed entries, hex. It covers the values
            in their order, and neither names nor shapes.
        layout: The digest of names and shapes of its tensors in their order, hex.
        content: SHA-256 of every byte, which signatures for other tools name.
        task: The task that the file states.
    """

    values: str
    layout: str
    content: bytes
    task: str


def released_model(path: Path) -> ReleasedModel:
    """Read a released model.

    Raises:
        InputError: If it is no model that a run released, or does not state its task and the order
            of its tensors.
    """
    content = read_bytes(path, _LARGEST_MODEL)
    header = tensor_header(content, str(path))
    metadata = _metadata(header.pop(METADATA, None), str(path))
    task = metadata.get("task")
    if not isinstance(task, str):
        raise InputError(f"{path} does not state its task")
    order = _order(metadata.get(ORDER), header, str(path))
    values = model_digest(_vector(content, [header[name] for name in order], str(path))).hex()
    layout = layout_digest((name, header[name]["shape"]) for name in order).hex()
    return ReleasedModel(values, layout, hashlib.sha256(content).digest(), task)


def _metadata(entry: object, where: str) -> dict[str, Any]:
    text = entry.get("securefl") if isinstance(entry, dict) else None
    found = parse_json(text, where) if isinstance(text, str) else None
    if not isinstance(found, dict):
        raise InputError(f"{where} is no released model")
    return found


def _order(text: object, header: Mapping[str, Any], where: str) -> list[str]:
    """Return the names of all tensors in the order of the shared vector, each once."""
    found = parse_json(text, where) if isinstance(text, str) else None
    if (
        not isinstance(found, list)
        or not all(isinstance(name, str) for name in found)
        or sorted(found) != sorted(header)
    ):
        raise InputError(f"{where} does not state the order of its tensors")
    return found


def _vector(content: bytes, entries: Sequence[Mapping[str, Any]], where: str) -> FloatVector:
    if any(entry["dtype"] != "F32" for entry in entries):
        raise InputError(f"{where} is no released model: its tensors are not of type float32")
    begin = _PREFIX + int.from_bytes(content[:_PREFIX], "little")
    places = [entry["data_offsets"] for entry in entries]
    parts = [content[begin + first : begin + last] for first, last in places]
    return np.frombuffer(b"".join(parts), dtype="<f4").astype(np.float32, copy=False)


def moment(text: str) -> datetime:
    """Parse a time like 2026-01-31T09:00:00Z.

    Raises:
        InputError: If it is not such a time.
    """
    try:
        return from_timestamp(text)
    except ValueError as error:
        raise InputError(f"--now: {error}, not {text}") from None
