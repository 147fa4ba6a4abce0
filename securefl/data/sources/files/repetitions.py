"""What is there too often: whole files, single lines, one customer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.paged import Arrays, Spool, blocks
from securefl.data.schema import ANONYMOUS
from securefl.data.sources.files.findings import Findings
from securefl.data.sources.files.order import time_spans

FEW: Final = 100
"""Repeated lines up to which no share of them is too large: a small table proves nothing."""


class FileLines:
    """The lines of one file, while those of all files of a member are collected.

    Args:
        label: What the file is called in an error.
        spool: Where all lines go; nothing else adds to it meanwhile.
    """

    def __init__(self, label: str, spool: Spool) -> None:
        self.label = label
        self.revenue = 0.0
        self._spool = spool
        self._span = slice(len(spool), len(spool))
        self._sums = {"customer": 0, "product": 0}

    def __len__(self) -> int:
        return int(self._span.stop - self._span.start)

    def add(self, part: Arrays) -> None:
        """Add lines."""
        self.revenue += float(part["value"].sum())
        for name, total in self._sums.items():
            # Wraps around at 2^64, for all files alike.
            self._sums[name] = (total + int(part[name].sum(dtype=np.int64))) % (1 << 64)
        self._spool.append(part)
        self._span = slice(self._span.start, len(self._spool))

    def same(self, other: FileLines) -> bool:
        """Return whether two files have the same lines, in any order."""
        if not len(self) or len(self) != len(other) or self._sums != other._sums:
            return False
        return same_lines(self._spool.rows(self._span), self._spool.rows(other._span))

    def forget(self) -> None:
        """Take the lines out again; no other file's may follow them yet."""
        self._spool.truncate(self._span.start)
        self._span = slice(self._span.start, self._span.start)


def same_lines(one: Arrays, other: Arrays) -> bool:
    """Return whether two tables of as many lines have the same lines, in any order."""
    columns = sorted(one)
    first, second = ([table[name] for name in columns] for table in (one, other))
    if all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        return True
    orders = np.lexsort(first), np.lexsort(second)
    return all(
        np.array_equal(a[orders[0]], b[orders[1]]) for a, b in zip(first, second, strict=True)
    )


def judged_repetitions(frame: pd.DataFrame, findings: Findings, place: str) -> pd.DataFrame:
    """Count lines that are equal to an earlier one in all columns; drop or refuse them by rule.

    Args:
        frame: The lines, in order; of a member whose files have no receipts, a receipt is made for
            each customer and day.
        findings: Where what is found goes.
        place: What the lines are called in an error.
    """
    repeated = _repeated(frame)
    count = len(repeated)
    if not count:
        return frame
    share, rules = count / len(frame), findings.rules
    refused = share > rules.most_repeated and count > FEW
    kept = "refuse" if refused else "note"
    found = findings.add(
        "repeated_lines",
        place,
        lines=count,
        revenue=float(frame["value"].to_numpy()[repeated].sum()),
        detail=f"{count:,} lines ({share:.1%}) are equal to an earlier one in all columns",
        action=kept if rules.repeated_lines == "keep" else "drop",
    )
    if found.action != "drop":
        return frame
    left = np.ones(len(frame), dtype=bool)
    left[repeated] = False
    return frame[left].reset_index(drop=True)


def _repeated(frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the rows, int64, of lines equal to an earlier one in all columns.

    Equal lines stand side by side but for others of the same time, receipt and product.
    """
    keys = [frame[name].to_numpy() for name in ("time", "basket", "product")]
    found: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    for span in time_spans(keys[0]):
        alike = np.all([key[span][1:] == key[span][:-1] for key in keys], axis=0)
        tied = np.append(alike, False) | np.insert(alike, 0, False)
        rows = np.flatnonzero(tied) + span.start
        found.append(rows[frame.iloc[rows].duplicated().to_numpy()])
    return np.concatenate(found)


_SAMPLE: Final = 1 << 20
_MANY_LINES: Final = 1000
_MANY_CUSTOMERS: Final = 10


def judged_customers(
    customer: npt.NDArray[Any], findings: Findings, place: str, label: Callable[[int], str]
) -> None:
    """Refuse a customer who has more lines than one customer can: it is a card of the till.

    Args:
        customer: Numbers of the lines' customers, [n].
        findings: Where what is found goes.
        place: What the lines are called in an error.
        label: The label of a customer's number.
    """
    step = max(len(customer) // _SAMPLE, 1)
    sample = np.concatenate([customer[span][::step] for span in blocks(len(customer))])
    numbers, counts = np.unique(sample, return_counts=True)
    share = np.where(numbers == ANONYMOUS, 0, counts) / max(len(sample), 1)
    lines = int(share.max(initial=0.0) * len(customer))
    few = len(numbers) < _MANY_CUSTOMERS or lines < _MANY_LINES
    if few or share.max() <= findings.rules.most_of_one:
        return
    one = label(int(numbers[share.argmax()]))
    findings.add(
        "giant_customer",
        place,
        lines=lines,
        detail=f"customer '{one}' has {share.max():.0%} of all lines",
    )
