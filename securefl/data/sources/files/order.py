"""Lines of several files as one table in the order that all readers of it rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.sources.files.transactions import Arrays
from securefl.errors import DataError


def joined(parts: list[Arrays]) -> Arrays:
    """Join columns, one after the other: there are never two copies of more than one."""
    if not parts:
        return {}
    names = set.union(*(set(part) for part in parts))
    if any(set(part) != names for part in parts):
        raise DataError("files of one member have different columns")
    joined: Arrays = {}
    for name in list(parts[0]):
        joined[name] = np.concatenate([part.pop(name) for part in parts])
    return joined


def no_lines(*, rated: bool) -> pd.DataFrame:
    """Return the table of a member of which nothing is left."""
    kinds = {"customer": "int64", "product": "int64", "basket": "int64", "time": "datetime64[ns]"}
    kinds |= dict.fromkeys(("quantity", "value", "discount"), "float64")
    columns = kinds | ({"rating": "int64"} if rated else {})
    return pd.DataFrame({name: np.zeros(0, dtype=kind) for name, kind in columns.items()})


def ordered(arrays: Arrays, *, with_baskets: bool) -> pd.DataFrame:
    """Return the lines by time, receipt and product; without receipts, one a customer and day."""
    if not with_baskets:
        arrays["basket"] = _visits(arrays["customer"], arrays["time"])
    order = _order(arrays["time"], arrays["basket"], arrays["product"])
    columns: Mapping[str, npt.NDArray[np.generic]] = {
        name: arrays.pop(name)[order] for name in list(arrays)
    }
    return pd.DataFrame(columns, copy=False)


def _order(
    time: npt.NDArray[Any], basket: npt.NDArray[Any], product: npt.NDArray[Any]
) -> npt.NDArray[np.intp]:
    """Return the order by time, basket, product, and then as the lines came.

    Most exports are in the order of time already, and lines of one receipt side by side: then a
    stable sort by time costs little, and only lines of equal times are left to be sorted.
    """
    order = np.argsort(time, kind="stable")
    moments = time[order]
    same = moments[1:] == moments[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    if len(tied):
        rows = order[tied]
        order[tied] = rows[np.lexsort((product[rows], basket[rows], moments[tied]))]
    return order


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
