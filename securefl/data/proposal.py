"""From a few files to settings that read them: columns, catalogue, rules, period."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from securefl.config.data import FilesSettings
from securefl.data.guess import LINE_COLUMNS, Guess, guess
from securefl.data.schema import LEVELS
from securefl.data.sources.files.engine import name, select
from securefl.data.sources.files.findings import Finding
from securefl.data.sources.files.labels import normalised
from securefl.data.sources.files.locate import table_files
from securefl.data.sources.files.scans import Scan, forget_rejects, scans
from securefl.data.sources.files.source import Examined, examine
from securefl.data.tables import RetailData
from securefl.errors import InputError

PROPOSED: Final[Mapping[str, str]] = {
    "anonymous": "keep",
    "returns": "net",
    "zero_quantity": "drop",
    "negative_value": "drop",
    "near_products": "match",
    "duplicate_files": "drop",
    "repeated_lines": "drop",
}
"""What is proposed where a rule would refuse: what loses least."""

_FEW: Final = 0.01
"""Share of lines with a broken cell up to which they are proposed to be left out."""


@dataclass(frozen=True)
class Proposal:
    """Settings for files that were looked at.

    Attributes:
        settings: The data section of a configuration.
        said: What was found out and decided, one line each.
        examined: What reading with these settings found.
    """

    settings: dict[str, Any]
    said: tuple[str, ...]
    examined: Examined

    @property
    def data(self) -> RetailData | None:
        """The tables, None where a fault is left that only a person can decide."""
        return self.examined.data


def propose(
    files: Sequence[Path],
    folder: Path,
    catalogue: Path | None,
    columns: Mapping[str, str],
    progress: Callable[[int], None],
) -> Proposal:
    """Look at one file, or folder, of each member, and propose how to read them.

    Writes `catalogue.csv` in `folder` from the members' lines, where none is given.

    Args:
        files: One a member.
        folder: Where the configuration will lie; file names are relative to it.
        catalogue: The agreed catalogue, if there is one.
        columns: Role to column, as far as a person says it.
        progress: Called with lines as they are read.

    Raises:
        InputError: A file cannot be read, or no column of it seems to be one that is needed.
    """
    _check_apart(files)
    guesses = [_looked_at(file, columns) for file in files]
    _check_named(columns, guesses)
    names = _member_names(files)
    said = [
        f"{who}: {', '.join(f'{role} = {column}' for role, column in one.roles.items())}"
        for who, one in zip(names, guesses, strict=True)
    ]
    target = catalogue or folder / "catalogue.csv"
    if catalogue is None:
        count = _write_catalogue(target, files, guesses)
        said.append(f"{target}: {count:,} products, from the members' lines")
    settings: dict[str, Any] = {
        "source": "files",
        "catalogue": _relative(target, folder),
        "catalogue_columns": catalogue_columns(target),
        "members": [
            _member(who, file, one, folder)
            for who, file, one in zip(names, files, guesses, strict=True)
        ],
    }
    first = _examine(settings, folder, progress)
    rules, reasons = _rules(first)
    if rules:
        settings["rules"] = rules
        said += reasons
    if first.data is not None and (period := common_days(first.data)):
        settings["period"] = [str(day) for day in period]
        said.append(f"period {period[0]} to {period[1]}: the days that all members have")
    return Proposal(settings, tuple(said), _examine(settings, folder, progress))


def _examine(settings: dict[str, Any], folder: Path, progress: Callable[[int], None]) -> Examined:
    checked = FilesSettings.model_validate({**settings, "root": folder})
    return examine(checked, progress, lambda error, member: None)


def _looked_at(path: Path, columns: Mapping[str, str]) -> Guess:
    with scans(table_files(path)[0], _NOTHING_SAID, ()) as found:
        scan = next(found)
        known = {role: column for role, column in columns.items() if column in scan.types}
        one = guess(scan, known)
    if one.missing:
        raise InputError(
            f"{path}: no column seems to be {' or '.join(one.missing)}; say it with"
            f" --column {one.missing[0]}=NAME (columns: {', '.join(one.columns)})"
            f"{_TITLES if len(one.columns) == 1 else ''}"
        )
    return one


_TITLES: Final = "; if titles stand above the line with the names of the columns, delete them"
_NOTHING_SAID: Final = FilesSettings.model_fields["format"].default


def _check_apart(files: Sequence[Path]) -> None:
    """Refuse one file for two retailers: each would learn from its own lines, twice."""
    places = [file.resolve() for file in files]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise InputError(f"{files[at]} is given twice; each retailer has files of its own")


def _check_named(columns: Mapping[str, str], guesses: Sequence[Guess]) -> None:
    """Refuse a column that a person names and no file has."""
    for role, column in columns.items():
        if not any(one.roles.get(role) == column for one in guesses):
            known = ", ".join(dict.fromkeys(header for one in guesses for header in one.columns))
            raise InputError(f"--column {role}={column}: no file has it (columns: {known})")


def _member_names(files: Sequence[Path]) -> list[str]:
    """Return a name for each member, in the letters that names may have.

    It is the file's, or the folder's where all files are called the same.
    """
    called = [file.resolve().name.split(".")[0] for file in files]
    if len(files) > 1 and len(set(called)) == 1:
        called = [file.resolve().parent.name for file in files]
    names: list[str] = []
    for text in called:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:50]
        plain = plain or f"member-{len(names) + 1}"
        names.append(plain if plain not in names else f"{plain}-{len(names) + 1}")
    return names


def _member(who: str, file: Path, one: Guess, folder: Path) -> dict[str, Any]:
    member: dict[str, Any] = {
        "name": who,
        "transactions": _relative(file, folder),
        "columns": {role: one.roles[role] for role in LINE_COLUMNS if role in one.roles},
    }
    written = one.format.model_dump(exclude_defaults=True)
    return {**member, "format": written} if written else member


def _relative(path: Path, folder: Path) -> str:
    here = folder.resolve()
    full = path.resolve()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(full)


def _write_catalogue(target: Path, files: Sequence[Path], guesses: Sequence[Guess]) -> int:
    """Write the products of all members' lines, each once, in the order of their labels."""
    levels = [level for level in LEVELS if any(level in one.roles for one in guesses)]
    rows: dict[str, list[str]] = {}
    for path, one in zip(files, guesses, strict=True):
        for label, *texts in _products(path, one, levels):
            row = rows.setdefault(label, [""] * len(levels))
            rows[label] = [old or new for old, new in zip(row, texts, strict=True)]
    if not rows:
        raise InputError(f"{', '.join(map(str, files))}: no line has a product")
    try:
        with target.open("x", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["product", *levels])
            out.writerows([label, *rows[label]] for label in sorted(rows))
    except FileExistsError:
        raise InputError(f"{target} exists; use it with --catalogue, or move it away") from None
    return len(rows)


def _products(path: Path, one: Guess, levels: Sequence[str]) -> Iterator[list[str]]:
    for file in table_files(path):
        with scans(file, one.format, tuple(one.roles.values())) as found:
            for scan in found:
                yield from _distinct(scan, one, levels)


def _distinct(scan: Scan, one: Guess, levels: Sequence[str]) -> Iterator[list[str]]:
    product = one.roles["product"]
    scan.require([product])
    label = f"CAST({name(product)} AS VARCHAR)"
    texts = [
        f"any_value(CAST({name(one.roles[level])} AS VARCHAR))"
        if one.roles.get(level) in scan.types
        else "''"
        for level in levels
    ]
    cells = ", ".join([f"{label} AS label", *texts])
    rows = scan.connection.execute(select(cells, scan.relation, "GROUP BY 1")).fetchall()
    forget_rejects(scan)
    for row in rows:
        plain = normalised(row[0] or "")
        if plain and plain != product:  # a header in the middle is no product
            yield [plain, *((cell or "").strip() for cell in row[1:])]


def catalogue_columns(path: Path) -> dict[str, str]:
    """Return which columns of a catalogue are which."""
    with scans(table_files(path)[0], _NOTHING_SAID, ("product",)) as found:
        roles = guess(next(found), {}).roles
    if "product" not in roles:
        raise InputError(f"{path}: no column seems to be the product")
    return {role: roles[role] for role in ("product", *LEVELS) if role in roles}


def _rules(examined: Examined) -> tuple[dict[str, str], list[str]]:
    """Return rules for what would be refused, as far as one loses little, and why."""
    rules: dict[str, str] = {}
    reasons: dict[str, list[Finding]] = {}
    for found in examined.findings:
        if found.action != "refuse":
            continue
        proposed = PROPOSED.get(found.rule)
        few = found.lines <= _FEW * max(examined.lines.get(found.member, 0), 1)
        if found.rule in ("cells", "lines", "bounds") and few:
            rules["broken"] = "drop"
            reasons.setdefault("broken", []).append(found)
        elif proposed is not None:
            rules[found.rule] = proposed
            reasons.setdefault(found.rule, []).append(found)
    said = [
        f'rules.{rule} = "{rules[rule]}": {_touched(found)}, such as'
        f" {found[0].line.split('; set ')[0]}"
        for rule, found in reasons.items()
    ]
    return rules, said


def _touched(found: Sequence[Finding]) -> str:
    """Return how many lines it is; one line may have several cells that are broken."""
    most: dict[str | None, int] = {}
    for one in found:
        most[one.member] = max(most.get(one.member, 0), one.lines)
    more = " or more" if len(found) > len(most) else ""
    return f"{sum(most.values()):,} lines{more}"


def common_days(data: RetailData) -> tuple[Any, Any] | None:
    """Return the first and last day that all members have, None if they share none."""
    days = [
        member.transactions["time"].to_numpy().astype("datetime64[D]") for member in data.members
    ]
    first = np.max([own.min() for own in days])
    last = np.min([own.max() for own in days])
    return (first, last) if first < last else None
