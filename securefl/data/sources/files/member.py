"""All tables of one member, and what only the whole of them tells."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from securefl.config.data import FilesSettings, MemberFiles, TransactionColumns
from securefl.config.files import FileFormat
from securefl.data.paged import Arrays, Spool, blocks
from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.sources.files.batches import Wanted, batches
from securefl.data.sources.files.catalogue import Matcher
from securefl.data.sources.files.databases import query_scan
from securefl.data.sources.files.findings import Findings
from securefl.data.sources.files.identity import own_products, pepper_of
from securefl.data.sources.files.locate import table_files
from securefl.data.sources.files.order import narrowed, no_lines, ordered
from securefl.data.sources.files.prepared import prepared_lines
from securefl.data.sources.files.repetitions import (
    FileLines,
    judged_customers,
    judged_repetitions,
)
from securefl.data.sources.files.returns import net
from securefl.data.sources.files.scans import Scan, scans
from securefl.data.sources.files.side_tables import read_browsing, read_profiles
from securefl.data.sources.files.transactions import LineReader, wanted_columns
from securefl.data.tables import RetailerTables

_DAY: Final = np.timedelta64(1, "D")
_YEAR: Final = np.timedelta64(366, "D")
_MONTH: Final = np.timedelta64(31, "D")
_STRAY: Final = 0.01

Progress = Callable[[int], None]


def read_member(
    member: MemberFiles,
    settings: FilesSettings,
    labels: list[str],
    findings: Findings,
    progress: Progress,
) -> RetailerTables | None:
    """Read one member's tables; None where a fault leaves nothing to go on with.

    Args:
        member: Which tables.
        settings: What all members share.
        labels: The catalogue's labels, normalised, in its order.
        findings: Where everything that is found goes; the caller refuses.
        progress: Called with lines as they are read.

    Raises:
        InputError: A file is missing, or of a type that is not read.
        DataError: A column is missing, or a file is damaged.
    """
    matcher = Matcher.of(
        labels,
        findings.rules.near_products,
        gtins=settings.identity.products == "gtin",
        own=own_products(member, settings, labels),
    )
    pepper = pepper_of(settings)
    reading = _Reading(member, settings, matcher, findings, pepper)
    named = (tuple(matcher.numbers.items()), settings.identity.products, pepper)
    lines = prepared_lines(member, settings, named, findings, lambda: reading.lines(progress))
    if lines is None:
        return None
    return RetailerTables(
        name=member.name,
        transactions=lines,
        profiles=reading.profiles(),
        browsing=reading.browsing(),
    )


def distinct_customers(
    member: MemberFiles, settings: FilesSettings, *, apart: bool = False
) -> set[str]:
    """Return the labels of customers in a member's transactions, as they stand there.

    Args:
        member: Whose.
        settings: What all members share.
        apart: Whether lines are judged apart; see `registry.load`.

    Raises:
        InputError: As in `read_member`.
        DataError: As in `read_member`.
    """
    findings = Findings(member.name, member.rules or settings.rules, apart=apart)
    reading = _Reading(member, settings, Matcher.of([], "keep"), findings)
    column = (member.columns or settings.columns).customer
    wanted = [Wanted("customer", column, "label")]
    found: set[str] = set()
    with closing(reading.scans()) as each:
        for scan in each:
            for batch in batches(scan, wanted, reading.format, findings):
                labels = batch.values["customer"].cast(pa.string()).drop_null()
                found.update(labels.unique().to_pylist())
    findings.check()
    return found


@dataclass
class _Reading:
    """One member's part of the settings, while its tables are read."""

    member: MemberFiles
    settings: FilesSettings
    matcher: Matcher
    findings: Findings
    pepper: bytes | None = field(default=None, repr=False)

    @property
    def _place(self) -> str:
        """What the member's transactions are called in an error."""
        if self.member.database is not None:
            return f"database of {self.member.name}"
        return str(self.settings.root / self.member.transactions)

    def lines(self, progress: Progress) -> pd.DataFrame | None:
        """Return the transactions in order, None if the rules leave none and that is refused."""
        reader = self._reader(progress)
        with Spool() as spool, closing(self.scans()) as found:
            self._collect(found, reader, spool)
            arrays = spool.columns()
        arrays = self._without_stray(arrays) if arrays else arrays
        if not arrays or not len(arrays["time"]):
            return self._nothing()
        self._products(arrays["product"])
        self._coverage(arrays["time"])
        label = reader.customers.label
        judged_customers(arrays["customer"], self.findings, self._place, label)
        frame = ordered(
            arrays,
            with_baskets=self._columns.basket is not None,
            narrow=not self.findings.apart,
        )
        frame = judged_repetitions(self._netted(frame), self.findings, self._place)
        return self._nothing() if frame.empty else frame

    def _nothing(self) -> pd.DataFrame | None:
        """Return no lines, None where that is refused."""
        detail = f"no transactions of '{self.member.name}'"
        found = self.findings.add("empty", self._place, detail=detail)
        return no_lines(rated=self._columns.rating is not None) if found.action == "keep" else None

    @property
    def _columns(self) -> TransactionColumns:
        return self.member.columns or self.settings.columns

    @property
    def format(self) -> FileFormat:
        """How the member's files are written."""
        return self.member.format or self.settings.format

    def _reader(self, progress: Progress) -> LineReader:
        return LineReader(
            self._columns,
            self.format,
            self.matcher,
            self.findings,
            self.settings.period,
            progress,
            self.pepper,
        )

    def _collect(self, found: Iterator[Scan], reader: LineReader, spool: Spool) -> None:
        """Add the lines of each file that is not another one's copy."""
        earlier: list[FileLines] = []
        for scan in found:
            lines = FileLines(scan.label, spool)
            for part in reader.read(scan):
                # Types that depend on values would let one line decide how others are computed
                # with.
                lines.add(part if self.findings.apart else narrowed(part))
            copy = next((one for one in earlier if lines.same(one)), None)
            if copy is None:
                earlier.append(lines)
                continue
            found_copy = self.findings.add(
                "duplicate_files",
                scan.label,
                lines=len(lines),
                revenue=lines.revenue,
                detail=f"has the same lines as {copy.label}",
            )
            if found_copy.action != "keep":
                lines.forget()

    def scans(self) -> Generator[Scan, None, None]:
        """Yield each file, or the query, open in an engine."""
        wanted = [one.name for one in wanted_columns(self._columns)]
        if self.member.database is not None:
            yield from query_scan(self.member, self.settings.root)
            return
        for file in table_files(self.settings.root / self.member.transactions):
            with scans(file, self.format, wanted, apart=self.findings.apart) as found:
                yield from found

    def _without_stray(self, arrays: Arrays) -> Arrays:
        """Judge days that no period bounds: few of them, far from all others or yet to come."""
        if self.settings.period is not None:
            return arrays
        time = arrays["time"]
        days = _stray(time)
        if not len(days):
            return arrays
        lines, revenue = 0, 0.0
        with Spool() as spool:
            for span in blocks(len(time)):
                stray = np.isin(time[span].astype("datetime64[D]"), days)
                lines += int(stray.sum())
                revenue += float(arrays["value"][span][stray].sum())
                spool.append({name: array[span][~stray] for name, array in arrays.items()})
            kept = spool.columns()
        found = self.findings.add(
            "stray_days",
            self._place,
            lines=lines,
            revenue=revenue,
            detail=f"has {lines} lines far from all others, on "
            + ", ".join(str(day) for day in days[:10]),
        )
        return arrays if found.action == "keep" else kept

    def _products(self, product: npt.NDArray[np.signedinteger[Any]]) -> None:
        spans = blocks(len(product))
        unknown = sum(int((product[span] == UNKNOWN_PRODUCT).sum()) for span in spans)
        if not unknown:
            return
        share = unknown / len(product)
        action = "refuse" if share > self.findings.rules.most_unmatched else "note"
        self.findings.add(
            "unmatched",
            self._place,
            lines=unknown,
            detail=f"{share:.1%} of lines have a product that the catalogue does not list:"
            f" {self.matcher.unmatched_examples() or 'labels of another spelling'}",
            action=action,
        )

    def _coverage(self, time: npt.NDArray[np.datetime64]) -> None:
        if self.settings.period is None:
            return
        check_coverage(self.findings, self._place, time, self.settings.period)

    def _netted(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.findings.rules.returns != "net" or not (frame["quantity"] < 0).any():
            return frame
        result = net(
            *(frame[name].to_numpy() for name in ("customer", "product", "quantity", "value"))
        )
        if result.unmatched:
            self.findings.add(
                "returns",
                self._place,
                lines=result.unmatched,
                detail=f"{result.unmatched} returns are of more than was bought before; left out",
                action="drop",
            )
        frame = frame.assign(quantity=result.quantity, value=result.value)
        return frame[frame["quantity"] > 0].reset_index(drop=True)

    def profiles(self) -> pd.DataFrame | None:
        """Return the customers' attributes."""
        if self.member.profiles is None:
            return None
        path = self.settings.root / self.member.profiles
        return read_profiles(path, self.format, self.findings, self.pepper)

    def browsing(self) -> pd.DataFrame | None:
        """Return the customers' events of the period."""
        if self.member.browsing is None:
            return None
        path = self.settings.root / self.member.browsing
        events = read_browsing(path, self.format, self.matcher, self.findings, self.pepper)
        if self.settings.period is None:
            return events
        first, last = (pd.Timestamp(day) for day in self.settings.period)
        return events[(events["time"] >= first) & (events["time"] < last + pd.Timedelta(days=1))]


def check_coverage(
    findings: Findings,
    place: str,
    time: npt.NDArray[np.datetime64],
    period: tuple[date, date],
) -> None:
    """Add a finding where a member's days end, or begin, a month or more inside the period."""
    first, last = (np.datetime64(day) for day in period)
    own = time.min().astype("datetime64[D]"), time.max().astype("datetime64[D]")
    slack = max(_MONTH, (last - first) // 10)
    if own[1] < last - slack or own[0] > first + slack:
        findings.add(
            "short_coverage",
            place,
            detail=f"has days from {own[0]} to {own[1]}, of {first} to {last}:"
            " what it does not have looks like customers who left",
        )


def _stray(time: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
    """Return the days whose lines are later than tomorrow, or few, or a year from all others."""
    days, counts = _day_counts(time)
    today = np.datetime64(date.today())  # noqa: DTZ011 - the clock of whoever reads
    bad = days > today + _DAY
    if counts[bad].sum() * 2 > len(time):
        bad[:] = False  # most lines: it is the clock that is wrong
    gaps = np.flatnonzero(np.diff(days) > _YEAR)
    bounds = [0, *(gaps + 1).tolist(), len(days)]
    for begin, end in pairwise(bounds):
        # One day alone, however many lines it has, stands for a day that a system did not know.
        most = 0.5 if end - begin == 1 else _STRAY
        if len(bounds) > 2 and counts[begin:end].sum() < most * len(time):
            bad[begin:end] = True
    return days[bad]


def _day_counts(
    time: npt.NDArray[np.datetime64],
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.int64]]:
    """Return the days that occur, ascending, and how many lines each has; block by block."""
    found: dict[int, int] = {}
    for span in blocks(len(time)):
        part = time[span].astype("datetime64[D]").astype(np.int64)
        for day, count in zip(*np.unique(part, return_counts=True), strict=True):
            found[int(day)] = found.get(int(day), 0) + int(count)
    days = sorted(found)
    counts = np.array([found[day] for day in days], dtype=np.int64)
    return np.array(days, dtype="datetime64[D]"), counts
