"""The kinds of fields that messages consist of; each encodes in one way (`codec.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A field with an integer of 32 bits."""

    largest: int = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Octets:
    """A field with a byte string.

    Attributes:
        smallest: Fewest bytes.
        largest: Most bytes; None leaves the limit to the message's own.
        absent: Whether it may have no bytes instead.
    """

    smallest: int
    largest: int | None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A field that maps member indices, strictly increasing, to rows of one length."""

    row: int


Field: TypeAlias = Unsigned | Octets | Table
Fields: TypeAlias = Mapping[str, Field]
Rows: TypeAlias = Mapping[int, bytes]
