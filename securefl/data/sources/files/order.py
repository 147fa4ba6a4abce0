"""Lines of several files as one table in the order that all readers of it rely on.

At 10^8 lines each further copy of a column is near a gigabyte. So columns are as narrow as their
values allow without loss, one is joined after the other, and lines that came in the order of time,
as those of most exports do, are put in order where they are.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.sources.files.transactions import Arrays
from securefl.errors import DataError

BLOCK: Final = 1 << 21
"""Lines that are put in order at a time."""

_NARROW: Final = np.iinfo(np.int32)
_PAGES: Final = 1 << 20


def narrowed(arrays: Arrays) -> Arrays:
    """Return columns of identifiers, and quantities without fractions, as int32 where all fit.

    Args:
        arrays: Columns, which are taken out.
    """
    return {name: _apart(_narrow(name, arrays.pop(name))) for name in list(arrays)}


def _apart(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a large array in pages of its own, which go back to the system when it is freed.

    The allocator keeps blocks of this size for later ones, which never come: while columns are
    joined, all lines would be there twice.
    """
    if array.nbytes < _PAGES:
        return array
    pages = np.frombuffer(mmap.mmap(-1, array.nbytes), dtype=array.dtype)
    pages[:] = array
    return pages


def _narrow(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind not in "if" or not len(array) or name in ("value", "discount"):
        return array
    least, most = array.min(), array.max()
    if not (_NARROW.min <= least and most <= _NARROW.max):
        return array
    narrow = array.astype(np.int32)
    same: bool = array.dtype.kind == "i" or bool((narrow == array).all())
    return narrow if same else array


def joined(parts: list[Arrays]) -> Arrays:
    """Join columns, one after the other: there are never two copies of more than one.

    Columns that are narrow in some files alone are wide in the result, and lose nothing.
    """
    if not parts:
        return {}
    names = set.union(*(set(part) for part in parts))
    if any(set(part) != names for part in parts):
        raise DataError("files of one member have different columns")
    joined: Arrays = {}
    for name in list(parts[0]):
        column = [part.pop(name) for part in parts]
        joined[name] = column[0] if len(column) == 1 else np.concatenate(column)
    return joined


def no_lines(*, rated: bool) -> pd.DataFrame:
    """Return the table of a member of which nothing is left."""
    kinds = {"customer": "int64", "product": "int64", "basket": "int64", "time": "datetime64[ns]"}
    kinds |= dict.fromkeys(("quantity", "value", "discount"), "float64")
    columns = kinds | ({"rating": "int64"} if rated else {})
    return pd.DataFrame({name: np.zeros(0, dtype=kind) for name, kind in columns.items()})


def ordered(arrays: Arrays, *, with_baskets: bool, narrow: bool = True) -> pd.DataFrame:
    """Return the lines by time, receipt and product; without receipts, one a customer and day.

    A discount that no file has is 0 in all lines, and takes no memory.
    """
    lines = len(arrays["time"])
    if not with_baskets:
        baskets = _visits(arrays["customer"], arrays["time"])
        arrays["basket"] = _narrow("basket", baskets) if narrow else baskets
    _put_in_order(arrays)
    if "discount" not in arrays:
        arrays["discount"] = np.broadcast_to(np.float64(0.0), (lines,))
    names = ("customer", "product", "basket", "time", "quantity", "value", "discount")
    columns: Mapping[str, npt.NDArray[np.generic]] = {
        name: arrays.pop(name) for name in (*names, *sorted(arrays.keys() - set(names)))
    }
    return pd.DataFrame(columns, copy=False)


def _put_in_order(arrays: Arrays) -> None:
    """Order all columns by time, basket, product, and then as the lines came."""
    if not _ascends(arrays["time"]):
        order = np.argsort(arrays["time"], kind="stable")
        if len(order) <= _NARROW.max:
            order = order.astype(np.int32)
        for name in list(arrays):
            arrays[name] = arrays[name][order]
    for begin, end in _blocks(arrays["time"]):
        _order_ties(arrays, slice(begin, end))


def _ascends(time: npt.NDArray[Any]) -> bool:
    starts = range(0, len(time), BLOCK)
    return all(
        bool((time[at : at + BLOCK] <= time[at + 1 : at + 1 + BLOCK]).all())
        for at in starts
        if at + BLOCK < len(time)
    ) and bool((time[starts[-1] : -1] <= time[starts[-1] + 1 :]).all())


def _blocks(time: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield spans of lines between which the time changes."""
    cuts = [0]
    for at in range(BLOCK, len(time), BLOCK):
        cut = int(np.searchsorted(time, time[at], side="left"))
        if cut > cuts[-1]:
            cuts.append(cut)
    cuts.append(len(time))
    yield from pairwise(cuts)


def _order_ties(arrays: Arrays, span: slice) -> None:
    """Put lines of equal times in order, in place."""
    moments = arrays["time"][span]
    same = moments[1:] == moments[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    if not len(tied):
        return
    keys = (arrays["product"][span][tied], arrays["basket"][span][tied], moments[tied])
    rows = tied[np.lexsort(keys)]
    if (rows == tied).all():
        return
    for array in arrays.values():
        block = array[span]
        block[tied] = block[rows]


def _visits(
    customer: npt.NDArray[np.generic], time: npt.NDArray[np.generic]
) -> npt.NDArray[np.int64]:
    """Return int64 [n]: one number a customer and day, by customer and then day."""
    day = time.astype("datetime64[D]").astype(np.int64)
    buyers, coded = np.unique(customer, return_inverse=True)
    span = int(day.max() - day.min()) + 1
    key = coded.astype(np.int64) * span + (day - day.min())
    del buyers
    return np.unique(key, return_inverse=True)[1].astype(np.int64)
