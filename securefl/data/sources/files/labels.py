"""Labels of customers, products and receipts: one spelling of each, and numbers for them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_LARGEST: Final = 2**63 - 1
_KEPT: Final = 1 << 21
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_WHOLE: Final = re.compile(r"([0-9]+)\.0+")
_ROUNDED: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+")

Number = Callable[[str], int]
"""Makes the number of a label as it stands in a file."""

MISSING: Final = -2
"""The number of a label that is not there."""

ROUNDED: Final = -3
"""The number of a label such as 5.4E+12: a spreadsheet made one number of many."""

NOT_A_GTIN: Final = -4
"""The number of a label that is no GTIN, where products are told apart by these."""

IN_STORE: Final = -5
"""The number of a label that each retailer uses for its own goods; see `gtin`."""

NO_CUSTOMER: Final = frozenset(
    {
        *("", "0", "-1", "-", "--", "?", ".", "null", "(null)", "<null>", "\\n", "none", "nil"),
        *("nan", "<na>", "na", "n/a", "#n/a", "nat", "unknown", "anonymous", "anonym", "guest"),
        *("unbekannt", "inconnu", "anonyme", "desconocido", "anonimo", "anónimo", "sconosciuto"),
        *("anonimo", "onbekend", "anoniem", "nieznany", "brak", "desconhecido", "anônimo"),
    }
)
"""Labels, in lower case, of customers whom no one knows: they are no customer."""


def normalised(label: str) -> str:
    """Return the one spelling of a label.

    Unicode's NFC, without characters that show nothing and without surrounding blanks; a number
    that a spreadsheet wrote with `.0` loses it, so that `17850.0` and `17850` are one label.
    """
    if not label.isascii():
        label = unicodedata.normalize("NFC", _INVISIBLE.sub("", label))
    label = label.strip()
    whole = _WHOLE.fullmatch(label)
    return whole[1] if whole else label


def folded(label: str) -> str:
    """Return what near spellings of a label share: no case, blanks, accents or leading zeros."""
    plain = unicodedata.normalize("NFKD", normalised(label)).casefold()
    plain = "".join(c for c in plain if c.isalnum() and not unicodedata.combining(c))
    return plain.lstrip("0") or plain[:1]


def stable_id(text: str) -> int:
    """Return the same int64, 0 or more, for the same text in every file and run.

    A decimal number without leading zeros stands for itself; other text for the first 63 bits of
    its BLAKE2b digest (RFC 7693).
    """
    if text.isascii() and text.isdecimal() and str(int(text)) == text and int(text) <= _LARGEST:
        return int(text)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Numbering:
    """Numbers for labels, remembered up to a limit, so that memory has one.

    Args:
        number: Makes the number of a label as it stands in the file.
        missing: The number where there is no label.
        plain: Whether decimal numbers above 0, without leading zeros, stand for themselves.
    """

    def __init__(self, number: Number, missing: int, *, plain: bool = False) -> None:
        self._number = number
        self._missing = missing
        self._plain = plain
        self._known: dict[str, int] = {}

    def label(self, number: int) -> str:
        """Return a label that a number was made of, as far as it is remembered."""
        return next((one for one, found in self._known.items() if found == number), str(number))

    def __call__(self, labels: pa.Array) -> npt.NDArray[np.int64]:
        """Return int64 [n] for text or integers [n]."""
        if pa.types.is_integer(labels.type):
            if self._plain and not labels.null_count and _all_positive(labels):
                return np.array(labels, dtype=np.int64)
            labels = labels.cast(pa.string())
        if labels.null_count == len(labels):
            return np.full(len(labels), self._missing, dtype=np.int64)
        coded = pc.dictionary_encode(labels)
        table = np.append(self._of_each(coded.dictionary), np.int64(self._missing))
        codes = coded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
        return np.asarray(table[codes])

    def _of_each(self, labels: pa.Array) -> npt.NDArray[np.int64]:
        """Return int64 [n] for distinct text [n]."""
        if not self._plain:
            return np.array([self._of(label) for label in labels.to_pylist()], dtype=np.int64)
        simple = pc.match_substring_regex(labels, "^[1-9][0-9]{0,17}$")
        numbers = np.empty(len(labels), dtype=np.int64)
        mask = simple.to_numpy(zero_copy_only=False)
        numbers[mask] = labels.filter(simple).cast(pa.int64()).to_numpy()
        others = labels.filter(pc.invert(simple)).to_pylist()
        numbers[~mask] = [self._of(label) for label in others]
        return numbers

    def _of(self, label: str) -> int:
        known = self._known.get(label)
        if known is None:
            known = self._number(label)
            if len(self._known) < _KEPT:
                self._known[label] = known
        return known


def _all_positive(labels: pa.Array) -> bool:
    least = pc.min(labels).as_py()
    return least is None or least > 0


def receipt_number(label: str) -> int:
    """Return the number of a receipt, or what is wrong with its label."""
    plain = normalised(label)
    if not plain:
        return MISSING
    return ROUNDED if is_rounded(plain) else stable_id(plain)


def is_rounded(label: str) -> bool:
    """Return whether a spreadsheet wrote a long number as a power of ten, and lost its digits."""
    return _ROUNDED.fullmatch(label) is not None
