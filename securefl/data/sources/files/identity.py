"""Who is the same customer, and what the same product, at all members: one setting for each."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pacsv

from securefl.config.data import FilesSettings, MemberFiles
from securefl.config.files import LineRules
from securefl.data.schema import ANONYMOUS
from securefl.data.sources.files.gtin import gtin
from securefl.data.sources.files.labels import (
    NO_CUSTOMER,
    ROUNDED,
    Number,
    Numbering,
    is_rounded,
    normalised,
    stable_id,
)
from securefl.errors import DataError, InputError
from securefl.untrusted.files import MEBIBYTE, check_regular, read_text
from securefl.untrusted.ownership import is_open_to_others

_CUSTOMER: Final = b"securefl/1/customer\0"
_LARGEST_MAP: Final = 1024 * MEBIBYTE
PEPPER_DIGITS: Final = 64
"""Hexadecimal digits of a pepper: 32 bytes, which nobody tries out."""


def product_key(label: str, kind: str) -> tuple[str, str]:
    """Return what a product is called everywhere, and why it has no such name.

    Args:
        label: The label, normalised.
        kind: `label` or `gtin`, as `Identity.products`.

    Returns:
        The key, empty where there is none; the problem, empty where there is none.
    """
    if kind == "label":
        return label, ""
    found = gtin(label)
    return (found.digits, "") if found.kind == "gtin" else ("", found.problem)


def customer_number(rules: LineRules, pepper: bytes | None = None) -> Number:
    """Return what numbers customers.

    With a pepper, a number is the first 63 bits of HMAC-SHA256 (RFC 2104) of the label under it:
    equal cards have equal numbers wherever the pepper is the same, and without it nobody can try
    all card numbers. Two of 10^7 customers share a number with a probability of 5 in a million.

    Args:
        rules: Which labels only look like no customer, and which others are none.
        pepper: The secret, 32 bytes; None for numbers that anybody can compute.
    """
    kept = frozenset(normalised(label) for label in rules.known_customers)
    unknown = frozenset(normalised(label) for label in rules.unknown_customers)

    def number(label: str) -> int:
        plain = normalised(label)
        if plain in unknown or (plain.lower() in NO_CUSTOMER and plain not in kept):
            return ANONYMOUS
        if is_rounded(plain):
            return ROUNDED
        return stable_id(plain) if pepper is None else _keyed(plain, pepper)

    return number


def label_number(settings: FilesSettings) -> Number:
    """Return what numbers a customer whose label a program gives.

    Raises:
        InputError: As in `pepper_of`.
    """
    pepper = pepper_of(settings)
    return stable_id if pepper is None else partial(_keyed, pepper=pepper)


def _keyed(label: str, pepper: bytes) -> int:
    return int.from_bytes(hmac.digest(pepper, _CUSTOMER + label.encode(), "sha256")[:8], "big") >> 1


def customer_numbering(rules: LineRules, pepper: bytes | None) -> Numbering:
    """Return `customer_number` for whole columns."""
    plain = pepper is None and not rules.unknown_customers
    return Numbering(customer_number(rules, pepper), ANONYMOUS, plain=plain)


def pepper_of(settings: FilesSettings) -> bytes | None:
    """Return the members' pepper; None where customers are not keyed.

    Raises:
        InputError: The file is missing, holds no 32 bytes in hexadecimal, or others can read it.
    """
    identity = settings.identity
    if identity.pepper is None:
        return None
    return _read_pepper(settings.root / identity.pepper)


def _read_pepper(path: Path) -> bytes:
    text = read_text(path, 4096).removeprefix("\ufeff").strip()
    if is_open_to_others(path.stat()):
        raise InputError(f"{path} can be read by others of this machine; chmod 600 {path}")
    try:
        pepper = bytes.fromhex(text)
    except ValueError:
        pepper = b""
    if len(text) != PEPPER_DIGITS or len(set(pepper)) < 8:
        raise InputError(
            f"{path}: a pepper has {PEPPER_DIGITS} hexadecimal digits from a generator of random"
            f" numbers: openssl rand -hex 32 > {path}"
        )
    return pepper


def own_products(
    member: MemberFiles, settings: FilesSettings, labels: list[str]
) -> Mapping[str, int] | None:
    """Return a member's own labels and the catalogue's rows that they stand for.

    Args:
        member: Whose.
        settings: What all members share.
        labels: The catalogue's labels, in its order.

    Returns:
        Label to row; None for a member whose labels are the catalogue's.

    Raises:
        InputError: The file is missing.
        DataError: It is damaged, names a row that the catalogue does not have, or a label twice.
    """
    if member.aligned is None:
        return None
    path = settings.root / member.aligned
    rows = {label: number for number, label in enumerate(labels)}
    found: dict[str, int] = {}
    for line, (label, row) in enumerate(_pairs(path), start=1):
        plain = normalised(label)
        key = product_key(plain, settings.identity.products)[0] or plain
        if row not in rows:
            raise DataError(f"{path}: row {line}: the catalogue has no row '{row}'")
        if found.setdefault(key, rows[row]) != rows[row]:
            raise DataError(f"{path}: row {line}: '{label}' stands for two rows")
    return found


def _pairs(path: Path) -> list[tuple[str, str]]:
    check_regular(path, _LARGEST_MAP)
    types = {"product": pa.string(), "row": pa.string()}
    try:
        table = pacsv.read_csv(path, convert_options=pacsv.ConvertOptions(column_types=types))
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"{path}: cannot be read: {' '.join(str(problem).split())}") from problem
    if table.column_names != ["product", "row"]:
        raise DataError(f"{path}: wanted the columns product, row")
    products, rows = (table.column(name).to_pylist() for name in ("product", "row"))
    return list(zip(products, rows, strict=True))
