"""The header of a safetensors file, checked before a library allocates what it asks for."""

from __future__ import annotations

import math
from typing import Any, Final

from securefl.errors import InputError
from securefl.untrusted.documents import parse_json
from securefl.untrusted.files import MEBIBYTE

_PREFIX: Final = 8
_LARGEST_HEADER: Final = 4 * MEBIBYTE
_MOST_TENSORS: Final = 10_000
_MOST_DIMENSIONS: Final = 8
_SIZES: Final = {"F64": 8, "F32": 4, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
"""Types that this project writes, and the bytes of an element."""
METADATA: Final = "__metadata__"


def tensor_header(
    content: bytes, where: str, *, error: type[InputError] = InputError
) -> dict[str, Any]:
    """Return the header of a safetensors file whose tensors cover its bytes exactly.

    Args:
        content: The file.
        where: Its source, with which messages begin.
        error: What is raised.

    Raises:
        InputError: If it is truncated, too large, ambiguous, or of types that are not written here.
    """
    length = int.from_bytes(content[:_PREFIX], "little")
    if len(content) < _PREFIX or length > min(_LARGEST_HEADER, len(content) - _PREFIX):
        raise error(f"{where} is damaged: no safetensors file")
    try:
        text = content[_PREFIX : _PREFIX + length].decode()
    except UnicodeDecodeError:
        raise error(f"{where} is damaged: no safetensors file") from None
    header = parse_json(text, where, error=error)
    if not isinstance(header, dict) or len(header) > _MOST_TENSORS:
        raise error(f"{where} is damaged: no list of at most {_MOST_TENSORS:,} tensors")
    spans = sorted(_span(entry, where, error) for name, entry in header.items() if name != METADATA)
    end = 0
    for first, last in spans:
        if first != end:
            raise error(f"{where} is damaged: its tensors leave gaps or overlap")
        end = last
    if end != len(content) - _PREFIX - length:
        raise error(f"{where} is damaged: it is longer or shorter than its tensors")
    return header


def _span(entry: object, where: str, error: type[InputError]) -> tuple[int, int]:
    """Return first and last byte of a tensor, which its type and shape account for."""
    damaged = error(f"{where} is damaged: a tensor has no type, shape or place")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise damaged
    size, shape, place = _SIZES.get(str(entry["dtype"])), entry["shape"], entry["data_offsets"]
    if size is None or not _counts(shape, _MOST_DIMENSIONS) or not _counts(place, 2):
        raise damaged
    if len(place) != 2 or place[1] - place[0] != size * math.prod(shape):
        raise damaged
    return place[0], place[1]


def _counts(values: object, most: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(value) is int and value >= 0 for value in values)
    )
