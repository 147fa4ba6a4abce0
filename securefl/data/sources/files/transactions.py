"""A member's lines of receipts: read, judged line by line, and put in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from securefl.config.data import TransactionColumns
from securefl.config.files import FileFormat
from securefl.data.paged import Arrays
from securefl.data.schema import ANONYMOUS, UNKNOWN_PRODUCT
from securefl.data.sources.files.batches import Batch, Mask, Wanted, batches, examples
from securefl.data.sources.files.catalogue import NEAR, Matcher
from securefl.data.sources.files.findings import FIRST, Findings, Rule
from securefl.data.sources.files.gtin import gtin
from securefl.data.sources.files.identity import customer_numbering
from securefl.data.sources.files.labels import (
    IN_STORE,
    MISSING,
    NOT_A_GTIN,
    ROUNDED,
    Numbering,
    normalised,
    receipt_number,
)
from securefl.data.sources.files.scans import Scan

_DAY: Final = np.timedelta64(1, "D")
_KINDS: Final = {
    "customer": "label",
    "product": "label",
    "basket": "label",
    "time": "time",
}


def wanted_columns(columns: TransactionColumns) -> tuple[Wanted, ...]:
    """Return the columns that a file of transactions must have."""
    names = {column: given for column, given in columns.model_dump().items() if given is not None}
    priced = names.pop("price", None)
    names["value"] = priced or columns.value or "value"
    return tuple(
        Wanted(column, given, _KINDS.get(column, "number"))  # type: ignore[arg-type]
        for column, given in names.items()
    )


@dataclass
class LineReader:
    """Reads the lines of one member.

    Attributes:
        columns: What the files call the schema's columns.
        given: How the files are written.
        matcher: Numbers the products.
        findings: Where everything that is found goes.
        period: First and last day that are wanted.
        progress: Called with lines as they are read.
        pepper: The members' secret, where customers are keyed.
        customers: Numbers the customers.
    """

    columns: TransactionColumns
    given: FileFormat
    matcher: Matcher
    findings: Findings
    period: tuple[date, date] | None = None
    progress: Callable[[int], None] = lambda lines: None
    pepper: bytes | None = field(default=None, repr=False)
    customers: Numbering = field(init=False)
    _product: Numbering = field(init=False)
    _basket: Numbering = field(init=False)

    def __post_init__(self) -> None:
        self.customers = customer_numbering(self.findings.rules, self.pepper)
        self._product = Numbering(self.matcher, MISSING)
        self._basket = Numbering(receipt_number, MISSING, plain=True)

    def read(self, scan: Scan) -> Iterator[Arrays]:
        """Yield the lines of one file that the rules leave, in the file's order.

        Raises:
            DataError: A column is missing, or the file is damaged.
        """
        for batch in batches(scan, wanted_columns(self.columns), self.given, self.findings):
            yield _Lines(self, scan.label, batch).arrays()
            self.progress(len(batch))


def _said(template: str, cells: npt.NDArray[Any] | pa.Array) -> Callable[[int], str]:
    """Return what says of a row's cell what is wrong with it."""

    def said(row: int) -> str:
        cell = cells[row]
        return template.format(cell.as_py() if isinstance(cell, pa.Scalar) else cell)

    return said


class _Lines:
    """One batch of lines, while it is judged."""

    def __init__(self, reader: LineReader, file: str, batch: Batch) -> None:
        self._reader = reader
        self._findings = reader.findings
        self._file = file
        self._batch = batch
        self._kept: Mask = np.ones(len(batch), dtype=bool)
        self._broken: Mask = np.zeros(len(batch), dtype=bool)
        self._quantity = batch.numbers("quantity")
        self._value = batch.numbers("value")
        if reader.columns.price is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                self._value = self._value * self._quantity
        known = np.where(np.isfinite(self._value), self._value, 0.0)
        self._known: npt.NDArray[np.float64] = known

    def arrays(self) -> Arrays:
        """Return the columns of the lines that stay."""
        self._take_blank()
        time = self._times()
        ids = self._ids()
        self._cells()
        self._amounts()
        self._customers(ids["customer"])
        self._products(ids["product"])
        self._findings.lines += len(self._batch)
        self._findings.revenue += float(self._known.sum())
        columns: Arrays = {
            **ids,
            "time": time,
            "quantity": self._quantity,
            "value": self._value,
        }
        if "discount" in self._batch.values:
            columns["discount"] = self._optional("discount")
        if "rating" in self._batch.values:
            columns["rating"] = self._optional("rating").astype(np.int64)
        if self._kept.all():
            return columns
        return {name: array[self._kept] for name, array in columns.items()}

    def _met(
        self,
        rule: Rule,
        mask: Mask,
        column: str | None = None,
        problem: Callable[[int], str] | str | None = None,
    ) -> None:
        """Count the lines of a rule that no line fault has taken yet, and take them out if so."""
        mask = mask & ~self._broken if rule not in ("cells", "bounds") else mask
        if not mask.any():
            return
        rows = np.flatnonzero(mask)
        texts = [problem(int(row)) for row in rows[:FIRST]] if callable(problem) else problem
        name = None if column is None else self._batch.names[column]
        found = self._findings.add(
            rule,
            self._file,
            name,
            lines=int(mask.sum()),
            revenue=float(self._known[mask].sum()),
            first=examples(self._batch, mask, texts, column or ""),
        )
        if rule in ("cells", "bounds"):
            self._broken |= mask
        if found.action in ("drop", "refuse"):
            self._kept &= ~mask

    def _take_blank(self) -> None:
        """A line without any cell is an empty line that kept its separators."""
        batch = self._batch
        blank = np.ones(len(batch), dtype=bool)
        for column, values in batch.values.items():
            if blank.any():
                raw = batch.raw[column].is_null().to_numpy(zero_copy_only=False)
                blank &= batch.missing(column) & raw
                del values
        if blank.any():
            self._findings.add(
                "blank_lines",
                self._file,
                lines=int(blank.sum()),
                first=examples(batch, blank, "an empty line"),
            )
            self._kept &= ~blank
            self._broken |= blank

    def _cells(self) -> None:
        """Take out lines with a cell that is missing or does not convert."""
        blank = self._broken.copy()
        for column, kind in self._batch.kinds.items():
            if kind == "label" and column == "customer":
                continue  # no customer is a matter of its own
            self._met("cells", self._batch.missing(column) & ~blank, column)

    def _times(self) -> npt.NDArray[Any]:
        time = self._batch.times("time")
        period = self._reader.period
        if period is not None:
            first, last = (np.datetime64(day) for day in period)
            outside = ~np.isnat(time) & ((time < first) | (time >= last + _DAY))
            self._met(
                "outside",
                outside,
                "time",
                lambda row: f"{str(time[row])[:10]} is not in the period {first} to {last}",
            )
        return time

    def _ids(self) -> Arrays:
        values = self._batch.values
        ids = {
            "customer": self._reader.customers(values["customer"]),
            "product": self._reader._product(values["product"]),
        }
        if "basket" in values:
            ids["basket"] = self._reader._basket(values["basket"])
        for column in list(ids):
            numbers = ids[column]
            rounded = numbers == ROUNDED
            self._met(
                "cells",
                rounded,
                column,
                _said("{} was rounded by a spreadsheet", values[column]),
            )
            if column != "customer":
                empty = (numbers == MISSING) & ~self._batch.missing(column) & ~self._broken
                self._met("cells", empty, column, "missing")
        return ids

    def _amounts(self) -> None:
        rules, quantity, value = self._findings.rules, self._quantity, self._value
        priced = self._reader.columns.price is not None
        raw_value = self._batch.numbers("value")
        for column, numbers in (("quantity", quantity), ("value", raw_value)):
            infinite = np.isinf(numbers)
            self._met("bounds", infinite, column, _said("{} is not finite", numbers))
        for column, numbers, most in (
            ("quantity", quantity, rules.most_quantity),
            ("value", value, rules.most_value),
        ):
            with np.errstate(invalid="ignore"):
                large = np.isfinite(numbers) & (np.abs(numbers) > most)
            self._met(
                "bounds",
                large,
                column,
                _said(f"{{:g}} is above {most:g}, which is not believed", numbers),
            )
        tiny = (quantity != 0) & (np.abs(quantity) < 1e-6)
        self._met("bounds", tiny, "quantity", _said("{:g} is nearly 0", quantity))
        self._met("returns", quantity < 0, "quantity", _said("{} is not above 0", quantity))
        zero = quantity == 0
        self._met("zero_quantity", zero, "quantity", _said("{} is not above 0", quantity))
        negative = (raw_value < 0) & ((quantity > 0) | (priced & (quantity < 0)))
        self._met("negative_value", negative, "value", _said("{} is below 0", raw_value))
        if "discount" in self._batch.values:
            discount = self._batch.numbers("discount")
            wrong = ~np.isfinite(discount) | (np.abs(discount) > rules.most_value)
            wrong &= ~self._batch.missing("discount")
            self._met("bounds", wrong, "discount", _said("{} is not believed", discount))
            below = (discount < 0) & (quantity > 0)
            self._met("cells", below, "discount", _said("{} is below 0", discount))
        if "rating" in self._batch.values:
            self._ratings()

    def _ratings(self) -> None:
        rating = self._batch.numbers("rating")
        with np.errstate(invalid="ignore"):
            broken = ~self._batch.missing("rating") & (rating != np.floor(rating))
            below = (rating < 0) | (rating > 1e6)
        self._met("cells", broken, "rating", _said("{} is not an integer", rating))
        self._met("cells", below, "rating", _said("{:g} is below 0 or too large", rating))

    def _optional(self, column: str) -> npt.NDArray[Any]:
        return np.nan_to_num(self._batch.numbers(column), posinf=0.0, neginf=0.0)

    def _customers(self, numbers: npt.NDArray[Any]) -> None:
        values = self._batch.values["customer"]

        def said(row: int) -> str:
            label = str(values[row])
            return (
                "missing"
                if not values[row].is_valid or not label.strip()
                else f"'{label}' is no customer"
            )

        # A fraction has no value, and is no missing customer either.
        raw = self._batch.raw["customer"]
        fraction = self._batch.missing("customer") & raw.is_valid().to_numpy(zero_copy_only=False)
        fraction &= ~self._broken
        self._met("cells", fraction, "customer")
        self._met("anonymous", numbers == ANONYMOUS, "customer", said)

    def _products(self, numbers: npt.NDArray[np.int64]) -> None:
        self._gtins(numbers)
        near = numbers <= NEAR
        if near.any():
            values, matcher = self._batch.values["product"], self._reader.matcher
            self._met(
                "near_products",
                near,
                "product",
                lambda row: (
                    f"'{values[row].as_py()}' is not in the catalogue,"
                    f" which has '{matcher.name(NEAR - int(numbers[row]))}'"
                ),
            )
            match = self._findings.rules.near_products == "match"
            numbers[near] = NEAR - numbers[near] if match else UNKNOWN_PRODUCT

    def _gtins(self, numbers: npt.NDArray[np.int64]) -> None:
        """Judge labels that are no GTIN, or one that each retailer uses for its own goods."""
        values = self._batch.values["product"]

        def said(row: int) -> str:
            label = normalised(str(values[row]))
            return f"'{label}' {gtin(label).problem}"

        rules: tuple[tuple[Rule, int], ...] = (("bad_gtin", NOT_A_GTIN), ("in_store", IN_STORE))
        for rule, number in rules:
            met = numbers == number
            self._met(rule, met, "product", said)
            numbers[met] = UNKNOWN_PRODUCT
