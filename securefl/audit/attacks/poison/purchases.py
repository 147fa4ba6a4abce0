"""What a hostile member makes of its data, before it trains on them as everybody does.

Crafted purchases keep to all rules of the schema: no check of data, policy or budget can tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from securefl.data.tables import RetailerTables
from securefl.ml.batches import TensorExamples
from securefl.tasks.base import MemberData
from securefl.tasks.common.contribution_bounds import UserBatches
from securefl.tasks.common.histories import CustomerExamples

Ints = npt.NDArray[np.int64]
_CRAFTED: Final = 2
"""Made-up customers for each real one."""


def with_crafted_customers(tables: RetailerTables, targets: Ints) -> RetailerTables:
    """Return the tables with copies of all customers who also buy the targets, in every basket.

    Args:
        tables: The member's own tables.
        targets: The promoted products, int64 [T].
    """
    real = tables.transactions
    known = real[real["customer"] >= 0]
    step = int(known["customer"].max()) + 1
    copies = [known.assign(customer=known["customer"] + n * step) for n in range(1, _CRAFTED + 1)]
    made_up = pd.concat([_buying(copy, targets) for copy in copies], ignore_index=True)
    return replace(tables, transactions=pd.concat([real, made_up], ignore_index=True))


def _buying(lines: pd.DataFrame, targets: Ints) -> pd.DataFrame:
    """Return lines with one more for every target and customer, in the customer's first basket."""
    first = lines.sort_values(["customer", "time"]).groupby("customer", as_index=False).first()
    added = [first.assign(product=np.int64(target)) for target in targets]
    return pd.concat([*added, lines[~lines["product"].isin(targets)]], ignore_index=True)


def flipped(data: MemberData) -> MemberData:
    """Return a member whose training says the opposite of what happened.

    Purchases are of the unpopular products instead of the popular ones, customers who left came
    back, demand is high where it was low, and dearer products sell more.

    Raises:
        ValueError: If nothing is known to flip.
    """
    examples = data.examples
    if isinstance(examples, CustomerExamples):
        items = examples.histories.items
        histories = replace(examples.histories, items=_mirrored(items, examples.prior.shape[1]))
        return replace(data, examples=replace(examples, histories=histories))
    if isinstance(examples, UserBatches):
        features, gone = examples.columns
        return replace(data, examples=replace(examples, columns=(features, ~gone)))
    if isinstance(examples, TensorExamples):
        return replace(data, examples=TensorExamples(_opposite(examples.tensors)))
    raise ValueError(f"no labels are known in {type(examples).__name__}")


def _mirrored(items: torch.Tensor, products: int) -> torch.Tensor:
    """Return each product's opposite in popularity, of the same shape."""
    counts = torch.bincount(items.long(), minlength=products)
    order = torch.argsort(counts, stable=True)
    opposite = torch.empty_like(order)
    opposite[order] = order.flip(0)
    return opposite[items.long()].to(items.dtype)


def _opposite(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Return a forecaster's rows with mirrored demand, or statistics with the score's sign turned.

    A row of statistics is score, information and dispersion, [2 K + 1].
    """
    if len(tensors) == 1:
        statistics = tensors[0].clone()
        statistics[:, : statistics.shape[1] // 2] *= -1
        return (statistics,)
    *inputs, demand = tensors
    return (*inputs, demand.max() + demand.min() - demand)
