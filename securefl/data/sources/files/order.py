"""Lines of several files as one table in the order that all readers of it rely on.

At 10^8 lines each further copy of a column is near a gigabyte, and at 10^9 no column fits. So
columns are as narrow as their values allow without loss, lie in files (`paged`), and are put in
order part by part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.grouping import grouped
from securefl.data.paged import Arrays, Spool, blank, blocks, release
from securefl.data.radix import stable_order
from securefl.data.threads import by_threads

BLOCK: Final = 1 << 21
"""Lines that are put in order at a time."""

_NARROW: Final = np.iinfo(np.int32)
_LARGEST: Final = np.iinfo(np.int64).max


def narrowed(arrays: Arrays) -> Arrays:
    """Return columns of identifiers, and quantities without fractions, as int32 where all fit.

    Args:
        arrays: Columns, which are taken out.
    """
    return {name: _narrow(name, arrays.pop(name)) for name in list(arrays)}


def _narrow(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind not in "if" or not len(array) or name in ("value", "discount"):
        return array
    least, most = array.min(), array.max()
    if not (_NARROW.min <= least and most <= _NARROW.max):
        return array
    narrow = array.astype(np.int32)
    same: bool = array.dtype.kind == "i" or bool((narrow == array).all())
    return narrow if same else array


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
        kind = np.int32 if narrow and lines <= _NARROW.max else np.int64
        arrays["basket"] = _visits(arrays["customer"], arrays["time"], kind)
    _put_in_order(arrays)
    return _table({name: arrays.pop(name) for name in list(arrays)})


def without_discount(lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines that have no column of discounts with one of zeros."""
    return _table({str(name): lines[name].to_numpy() for name in lines})


def _table(arrays: Arrays) -> pd.DataFrame:
    zeros = {"discount": np.broadcast_to(np.float64(0.0), (len(arrays["time"]),))}
    names = ("customer", "product", "basket", "time", "quantity", "value", "discount")
    columns: Mapping[str, npt.NDArray[np.generic]] = {
        name: {**zeros, **arrays}[name] for name in (*names, *sorted(arrays.keys() - set(names)))
    }
    return pd.DataFrame(columns, copy=False)


def _put_in_order(arrays: Arrays) -> None:
    """Order all columns by time, basket, product, and then as the lines came."""
    if not _ascends(arrays["time"]):
        _sort_by_time(arrays)
    for _ in by_threads(partial(_order_ties, arrays), time_spans(arrays["time"])):
        pass


def _sort_by_time(arrays: Arrays) -> None:
    with Spool() as spool:
        for part in grouped([arrays], "time", BLOCK):
            order = stable_order(part["time"])
            spool.append({name: column[order] for name, column in part.items()})
        arrays.clear()
        arrays.update(spool.columns())


def _ascends(time: npt.NDArray[Any]) -> bool:
    return all(
        bool((time[span][1:] >= time[span][:-1]).all())
        and bool(time[span.start] >= time[max(span.start - 1, 0)])
        for span in blocks(len(time))
    )


def time_spans(time: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield spans of lines, in the order of time, between which the time changes."""
    cuts = [0]
    for at in range(BLOCK, len(time), BLOCK):
        cut = int(np.searchsorted(time, time[at], side="left"))
        if cut > cuts[-1]:
            cuts.append(cut)
    cuts.append(len(time))
    for begin, end in pairwise(cuts):
        yield slice(begin, end)
        release()


def _order_ties(arrays: Arrays, span: slice) -> None:
    """Put lines of equal times in order, in place."""
    moments = arrays["time"][span]
    same = moments[1:] == moments[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    if not len(tied):
        return
    time, basket, product = (arrays[name][span][tied] for name in ("time", "basket", "product"))
    rows = tied[_order_of(time, basket, product)]
    if (rows == tied).all():
        return
    for array in arrays.values():
        block = array[span]
        block[tied] = block[rows]


def _order_of(
    time: npt.NDArray[Any], basket: npt.NDArray[Any], product: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return the order by time, receipt and product, of lines that are by time, int64 [n]."""
    later = time[1:] > time[:-1]
    if not (later | (basket[1:] >= basket[:-1])).all():
        return stable_order(product, basket, np.append(0, np.cumsum(later)))
    group = np.append(0, np.cumsum(later | (basket[1:] > basket[:-1])))
    least, most = int(product.min()), int(product.max())
    if (int(group[-1]) + 1) * (most - least + 1) > _LARGEST:
        return stable_order(product, group)
    # Nearly in order, which this sort is quick with.
    return np.argsort(group * (most - least + 1) + (product - least), kind="stable")


def _visits(
    customer: npt.NDArray[np.generic], time: npt.NDArray[np.generic], kind: npt.DTypeLike
) -> npt.NDArray[np.signedinteger[Any]]:
    """Return integers [n]: one number a customer and day, by customer and then day."""
    lines = len(customer)
    place, numbers, count = blank(lines, np.int64), blank(lines, kind), 0
    for span in blocks(lines):
        place[span] = np.arange(span.start, span.stop)
    for part in grouped([{"customer": customer, "time": time, "place": place}], "customer", BLOCK):
        visit = _visits_of(part["customer"], part["time"])
        numbers[part["place"]] = visit + count
        count += int(visit.max()) + 1
    return numbers


def _visits_of(
    customer: npt.NDArray[np.generic], time: npt.NDArray[np.generic]
) -> npt.NDArray[np.int64]:
    day = time.astype("datetime64[D]").astype(np.int64)
    coded = np.unique(customer, return_inverse=True)[1]
    span = int(day.max() - day.min()) + 1
    key = coded.astype(np.int64) * span + (day - day.min())
    return np.unique(key, return_inverse=True)[1].astype(np.int64)
