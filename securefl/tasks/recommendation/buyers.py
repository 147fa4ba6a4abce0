"""How many customers bought each product, of tables of any size."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from securefl.data.grouping import grouped
from securefl.data.paged import Arrays
from securefl.data.radix import stable_order
from securefl.data.tables import RetailData
from securefl.data.threads import by_threads
from securefl.tasks.common.purchase_lines import changes


def buyers(data: RetailData) -> pd.Series:
    """Return the number of customers of all members who bought a product, by product id."""
    return data.once("buyers", partial(_buyers, data))


def _buyers(data: RetailData) -> pd.Series:
    lines = [
        {name: m.transactions[name].to_numpy() for name in ("customer", "product")}
        for m in data.members
    ]
    found = pd.Series(dtype=np.int64)
    for bought in by_threads(_counted, grouped(lines, "customer", least=0)):
        found = found.add(bought, fill_value=0).astype(np.int64)
    return found


def _counted(part: Arrays) -> pd.Series:
    """Return the number of customers who bought each product, of lines of a few customers."""
    order = stable_order(part["customer"], part["product"])
    customer, product = (part[name][order] for name in ("customer", "product"))
    bought = product[changes(customer, product)]
    numbers, counts = np.unique(bought[bought >= 0], return_counts=True)
    return pd.Series(counts, index=numbers.astype(np.int64))
