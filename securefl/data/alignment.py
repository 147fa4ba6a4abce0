"""A member's catalogue as items to be compared in secret, and rows that all members share."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Final

from securefl.config.data import CatalogueColumns
from securefl.config.files import FileFormat, LineRules
from securefl.data.proposal import catalogue_columns
from securefl.data.sources.files.findings import Findings
from securefl.data.sources.files.identity import product_key
from securefl.data.sources.files.labels import normalised
from securefl.data.sources.files.side_tables import read_catalogue
from securefl.errors import InputError
from securefl.untrusted.files import taken

_PRODUCT, _GROUP, _OF = b"product\0", b"group\0", b"of\0"
_BLANKS: Final = re.compile(r"\s+")

Group = tuple[tuple[str, str], ...]
"""Levels and their values, coarsest first."""


@dataclass(frozen=True)
class OwnProduct:
    """One product of a member's own catalogue.

    Attributes:
        label: What the member calls it.
        key: What all call it; empty where it has no such name.
        groups: What it can be grouped by, finest first.
    """

    label: str
    key: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Agreed:
    """How products are compared; see `AlignmentPlan`.

    Attributes:
        products: What makes two products the same one.
        attributes: Levels by which products without a row are grouped, coarsest first.
        all_hold: Whether every member sells what has a row, so that all can call it by its name.
    """

    products: str
    attributes: tuple[str, ...]
    all_hold: bool


@dataclass(frozen=True)
class AlignedCatalogue:
    """Rows that all members share, and what they are at one member.

    Attributes:
        rows: Name of each row, and its attributes as far as all members agree on them.
        own: The member's own label to the name of its row; labels without one are left out.
        by_product: How many labels have a row of their own product.
        by_group: How many have that of a group of products.
    """

    rows: tuple[tuple[str, ...], ...]
    own: Mapping[str, str]
    by_product: int
    by_group: int


def own_catalogue(path: Path, agreed: Agreed) -> list[OwnProduct]:
    """Read a member's own catalogue, whose columns are recognised by their names.

    Raises:
        InputError: It cannot be read, or has no column for an agreed attribute.
        DataError: It is damaged, or lists a label twice.
    """
    roles = catalogue_columns(path)
    missing = [level for level in agreed.attributes if level not in roles]
    if missing:
        raise InputError(f"{path}: no column seems to be {missing[0]}, by which products align")
    columns = CatalogueColumns.model_validate(roles)
    findings = Findings("", LineRules())
    table = read_catalogue(path, columns, FileFormat(), findings)
    findings.check()
    cells = {name: table[name].iloc[:-1].astype(str) for name in ("label", *agreed.attributes)}
    rows = zip(*cells.values(), strict=True)
    return [_product(dict(zip(cells, row, strict=True)), agreed) for row in rows]


def _product(row: Mapping[str, str], agreed: Agreed) -> OwnProduct:
    label = normalised(row["label"])
    values = ((level, _value(row[level])) for level in agreed.attributes)
    known = tuple(takewhile(lambda pair: pair[1], values))
    groups = tuple(known[:depth] for depth in range(len(known), 0, -1))
    return OwnProduct(label, product_key(label, agreed.products)[0], groups)


def _value(text: str) -> str:
    """Return an attribute's one spelling: of all members' words, so case does not matter."""
    return _BLANKS.sub(" ", normalised(text)).casefold()


def items(products: Sequence[OwnProduct], agreed: Agreed) -> list[bytes]:
    """Return what is compared: products, groups, and of which group a product is."""
    found: set[bytes] = set()
    for one in products:
        found |= set(_items(one, agreed))
    return sorted(found)


def _items(one: OwnProduct, agreed: Agreed) -> Iterator[bytes]:
    if one.key:
        yield _PRODUCT + one.key.encode()
    for group in one.groups:
        yield _group(group)
        if one.key and agreed.all_hold:
            yield _of(one, group)


def _group(group: Group) -> bytes:
    return _GROUP + "\0".join(f"{level}={value}" for level, value in group).encode()


def _of(one: OwnProduct, group: Group) -> bytes:
    return _OF + one.key.encode() + b"\0" + _group(group)


def aligned(
    products: Sequence[OwnProduct],
    agreed: Agreed,
    common: Mapping[bytes, bytes],
    values: Sequence[bytes],
) -> AlignedCatalogue:
    """Return the shared rows, and which of them a member's own products are.

    Where all members sell what has a row, rows are called by product or group. Else they are called
    by the value that all see, as a member would learn of products that it does not sell.

    Args:
        products: The member's own.
        agreed: How they were compared.
        common: The own items that are common, each with its value.
        values: All common values.
    """
    own: dict[str, str] = {}
    rows: dict[str, dict[str, str]] = {}
    if not agreed.all_hold:
        rows = {_hidden(value): {} for value in values}
    by_product = 0
    for one in products:
        found = _row(one, agreed, common)
        if found is None:
            continue
        name, attributes = found
        own[one.label] = name
        by_product += _PRODUCT + one.key.encode() in common and bool(one.key)
        rows.setdefault(name, attributes)
    for one in products if agreed.all_hold else ():
        # A group is a row of all members, also where each product of this one has its own.
        for group in one.groups:
            if _group(group) in common:
                rows.setdefault(_name(group), dict(group))
    cells = tuple(
        (name, *(rows[name].get(level, "") for level in agreed.attributes)) for name in sorted(rows)
    )
    return AlignedCatalogue(cells, own, by_product, len(own) - by_product)


def _row(
    one: OwnProduct, agreed: Agreed, common: Mapping[bytes, bytes]
) -> tuple[str, dict[str, str]] | None:
    """Return the name and the attributes of a product's row; None where it has none."""
    item = _PRODUCT + one.key.encode()
    if one.key and item in common:
        if not agreed.all_hold:
            return _hidden(common[item]), {}
        group = next((group for group in one.groups if _of(one, group) in common), ())
        return one.key, dict(group)
    for group in one.groups:
        if _group(group) in common:
            hidden = _hidden(common[_group(group)])
            return (_name(group), dict(group)) if agreed.all_hold else (hidden, {})
    return None


def _name(group: Group) -> str:
    return ", ".join(f"{level}={value}" for level, value in group)


def _hidden(value: bytes) -> str:
    return "r-" + sha256(value).hexdigest()[:24]


def write_aligned(found: AlignedCatalogue, agreed: Agreed, folder: Path, name: str) -> list[Path]:
    """Write `catalogue.csv`, the same at all members, and the member's own `NAME-rows.csv`.

    Raises:
        InputError: One of them exists.
    """
    shared, own = folder / "catalogue.csv", folder / f"{name}-rows.csv"
    for path in (shared, own):
        if taken(path):
            raise InputError(f"{path} exists; it was not touched")
    folder.mkdir(parents=True, exist_ok=True)
    _write(shared, ["product", *agreed.attributes], found.rows)
    own.touch(mode=0o600)
    _write(own, ["product", "row"], sorted(found.own.items()))
    return [shared, own]


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header)
        out.writerows(rows)
