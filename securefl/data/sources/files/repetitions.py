"""What is there too often: whole files, single lines, one customer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.schema import ANONYMOUS
from securefl.data.sources.files.findings import Findings
from securefl.data.sources.files.transactions import Arrays

FEW: Final = 100
"""Repeated lines up to which no share of them is too large: a small table proves nothing."""


def same_lines(one: list[Arrays], other: list[Arrays]) -> bool:
    """Return whether two files have the same lines, in any order."""
    names = set().union(*(part.keys() for part in (*one, *other)))
    count = line_count(one)
    if not count or count != line_count(other):
        return False
    if any(part.keys() != names for part in (*one, *other)):
        return False
    if not all(_sums(one, name) == _sums(other, name) for name in ("customer", "product")):
        return False
    columns = sorted(names)
    first, second = (
        [np.concatenate([part[name] for part in parts]) for name in columns]
        for parts in (one, other)
    )
    if all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        return True
    orders = np.lexsort(first), np.lexsort(second)
    return all(
        np.array_equal(a[orders[0]], b[orders[1]]) for a, b in zip(first, second, strict=True)
    )


def _sums(parts: list[Arrays], name: str) -> int:
    # Wraps around at 2^64, for both files alike.
    return sum(int(part[name].sum(dtype=np.int64)) for part in parts) % (1 << 64)


def line_count(parts: list[Arrays]) -> int:
    """Return how many lines the parts of a file have."""
    return sum(len(part["time"]) for part in parts)


def judged_repetitions(frame: pd.DataFrame, findings: Findings, place: str) -> pd.DataFrame:
    """Count lines that are equal to an earlier one in all columns; drop or refuse them by rule.

    Args:
        frame: The lines, in order; of a member whose files have no receipts, a receipt is made for
            each customer and day.
        findings: Where what is found goes.
        place: What the lines are called in an error.
    """
    repeated = _repeated(frame)
    count = int(repeated.sum())
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
    return frame[~repeated].reset_index(drop=True) if found.action == "drop" else frame


def _repeated(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return bool [n]; equal lines stand side by side but for others of time, receipt, product."""
    alike = np.ones(max(len(frame) - 1, 0), dtype=bool)
    for name in ("time", "basket", "product"):
        column: npt.NDArray[Any] = frame[name].to_numpy()
        alike &= column[1:] == column[:-1]
    near = np.append(alike, False) | np.insert(alike, 0, False)
    result = np.zeros(len(frame), dtype=bool)
    if near.any():
        result[near] = frame[near].duplicated().to_numpy()
    return result


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
    sample = customer[:: max(len(customer) // _SAMPLE, 1)]
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
