"""Order levels of the coming week, from what a member serves after a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from securefl.data.tables import RetailerTables
from securefl.tasks.common.serving import Request
from securefl.tasks.demand.serving import ServedForecaster
from securefl.tasks.inventory.task import InventoryTask


class ServedOrderLevels(ServedForecaster):
    """Sets a member's order levels."""

    use: ClassVar[str] = "What to order up to in the coming week, at the agreed costs."
    limits: ClassVar[tuple[str, ...]] = (
        "Sales are taken for demand: what ran out of stock was asked for more than it sold.",
        "It knows neither the stock nor the orders on their way.",
    )
    options: ClassVar[frozenset[str]] = frozenset({"as_of"})

    @torch.no_grad()
    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield `series`, `period_start`, order levels and the policy's figures, in one table.

        `period_end` is the last day that an order has to cover; see `ServedModel`.
        """
        task = self.task
        assert isinstance(task, InventoryTask)
        known, stock = self.known(tables, request.as_of), task.stock
        cases = self.next_step(known)
        table = task.level_table(cases[0], self.forecast(cases))
        week = np.timedelta64(task.cadence.days, "D")
        start = known.steps[-1] + week
        last = start + task.horizon * week - np.timedelta64(1, "D")
        table.insert(0, "series", [self.facts.words.keys[key] for key in self.series.tolist()])
        table.insert(1, "period_start", start.astype("datetime64[s]"))
        table.insert(2, "period_end", last.astype("datetime64[s]"))
        table["policy"] = stock.policy
        table["critical_level"] = stock.critical_level
        table["holding_cost"], table["shortage_cost"] = stock.holding_cost, stock.shortage_cost
        yield table
