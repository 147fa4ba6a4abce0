"""The retailers' own files or databases, with columns named as the retailers name them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import numpy as np
import pandas as pd

from securefl.config.data import FilesSettings
from securefl.data.sources.files.catalogue import Matcher
from securefl.data.sources.files.findings import Finding, Findings, refuse
from securefl.data.sources.files.member import check_coverage, read_member
from securefl.data.sources.files.progress import Reading
from securefl.data.sources.files.side_tables import read_catalogue, read_prices, read_promotions
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import InputError
from securefl.untrusted.text import one_line

_log = logging.getLogger(__name__)

SOURCE: Final = "files"
_Read = TypeVar("_Read")


def silent(lines: int) -> None:
    """Take note of lines that were read, and show nothing."""


def load(
    settings: FilesSettings,
    progress: Callable[[int], None] | None = None,
    *,
    apart: bool = False,
) -> RetailData:
    """Read the catalogue, then every member's tables.

    Products are numbered as the catalogue lists them; its column `label` keeps their own names, and
    its last row, product -1, stands for all products that it does not list. Customers of equal
    identifiers at two members have equal numbers. `RetailData.notes` says what the rules did.

    Args:
        settings: What to read.
        progress: Called with the number of lines, as they are read; said in a log if not given.
        apart: See `registry.load`.

    Raises:
        InputError: A file is missing, or of a type that is not read.
        DataError: A file is damaged, or a rule refuses lines; the text names file, row, column and
            the setting that would let them be read.
    """
    read = examine(settings, progress or Reading(settings), apart=apart)
    refuse(list(read.findings))
    for one in read.findings:
        level = logging.INFO if one.action == "note" else logging.WARNING
        _log.log(level, "%s", one_line(f"{one.member}: {one.line}" if one.member else one.line))
    if read.data is None:
        raise InputError(f"{SOURCE}: no tables")
    return read.data


@dataclass(frozen=True)
class Examined:
    """Tables, and everything that was found while they were read.

    Attributes:
        data: The tables; None where a fault left nothing of a member or of the catalogue.
        findings: Faults and what the rules did, in the order of files and rows.
        lines: Lines read of each member.
        revenue: Sum of their values, of each member.
    """

    data: RetailData | None
    findings: tuple[Finding, ...]
    lines: dict[str, int]
    revenue: dict[str, float]


def examine(
    settings: FilesSettings,
    progress: Callable[[int], None] = silent,
    stop: Callable[[InputError, str], None] | None = None,
    *,
    apart: bool = False,
) -> Examined:
    """Read everything and collect what is found, instead of ending at the first of it.

    Args:
        settings: What to read.
        progress: Called with the number of lines, as they are read.
        stop: Called with an error that ends the reading of one table and its member; the errors
            are raised where it is not given.
        apart: See `registry.load`.

    Raises:
        InputError: As in `load`, if `stop` is not given.
    """
    common = Findings("", settings.rules)
    agreed = _guarded(lambda: read_agreed(settings, common), "", common, stop)
    found, lines, revenue = [*common.all], {}, {}
    members: list[RetailerTables | None] = []
    for member in settings.members if agreed is not None else ():
        labels = agreed.products["label"].iloc[:-1].tolist() if agreed is not None else []
        own = Findings(member.name, member.rules or settings.rules, apart=apart)
        read = partial(read_member, member, settings, labels, own, progress)
        tables = _guarded(read, member.name, own, stop)
        members.append(tables)
        found += own.all
        lines[member.name], revenue[member.name] = own.lines, own.revenue
    found += _uneven(settings, [tables for tables in members if tables is not None])
    whole = [tables for tables in members if tables is not None]
    data = None
    if agreed is not None and len(whole) == len(settings.members):
        notes = tuple(f"{one.member}: {one.line}" if one.member else one.line for one in found)
        shared = agreed.products, agreed.promotions, agreed.prices
        data = RetailData(SOURCE, tuple(whole), *shared, notes=notes)
    return Examined(data, tuple(found), lines, revenue)


def _guarded(
    read: Callable[[], _Read],
    member: str,
    findings: Findings,
    stop: Callable[[InputError, str], None] | None,
) -> _Read | None:
    try:
        return read()
    except InputError as error:
        # A setting that is missing can be why a file cannot be read: it is what to say first.
        if stop is None:
            refuse(list(findings.all))
            raise
        stop(error, member)
        return None


def _uneven(settings: FilesSettings, members: list[RetailerTables]) -> list[Finding]:
    """Compare members' days with each other where no period was agreed."""
    if settings.period is not None or len(members) < 2:
        return []
    times = [member.transactions["time"].to_numpy() for member in members]
    days = [np.array([own.min(), own.max()]).astype("datetime64[D]") for own in times]
    period = min(d[0] for d in days), max(d[1] for d in days)
    found: list[Finding] = []
    rules = {member.name: member.rules or settings.rules for member in settings.members}
    for member, ends in zip(members, days, strict=True):
        findings = Findings(member.name, rules[member.name])
        check_coverage(findings, member.name, ends, (period[0].item(), period[1].item()))
        found += findings.all
    return found


@dataclass(frozen=True)
class AgreedTables:
    """What belongs to no single member; see `RetailData`."""

    products: pd.DataFrame
    promotions: pd.DataFrame | None
    prices: pd.DataFrame | None


def read_agreed(settings: FilesSettings, findings: Findings | None = None) -> AgreedTables:
    """Return the catalogue, and promotions and shelf prices if there are any.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`.
    """
    own = findings or Findings("", settings.rules)
    given = settings.format
    products = read_catalogue(
        settings.root / settings.catalogue,
        settings.catalogue_columns,
        given,
        own,
        settings.names_rows,
    )
    labels = products["label"].iloc[:-1].tolist()
    gtins = settings.names_rows == "gtin"
    matcher = Matcher.of(labels, own.rules.near_products, gtins=gtins)
    names = [member.name for member in settings.members]
    promotions, prices = (
        None if path is None else read(settings.root / path, matcher, names, given, own)
        for path, read in ((settings.promotions, read_promotions), (settings.prices, read_prices))
    )
    if findings is None:
        own.check()
    return AgreedTables(products, promotions, prices)
