"""Recommended prices and elasticities, from what a member serves after a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri
from torch import nn

from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.base import AnyTask
from securefl.tasks.common.held_out import HeldOut, PriceCurve, PriceCurves
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.serving import OwnPart, Request, ServedModel
from securefl.tasks.demand.series import WEEK, Floats, steps_until
from securefl.tasks.pricing.facts import PricingFacts
from securefl.tasks.pricing.price_list import Lines
from securefl.tasks.pricing.price_optimization import price_curve, usual_product
from securefl.tasks.pricing.task import PricingMember, PricingTask, scored


class ServedPrices(ServedModel):
    """Recommends a member's prices.

    Args:
        task: The task.
        facts: What the members agreed on.
        model: The shared sums.
        value: The member's elasticities by category, float64 [K].
        error: Their standard errors, float64 [K].
    """

    use: ClassVar[str] = "How much less sells at a higher price, and one price for all customers."
    limits: ClassVar[tuple[str, ...]] = (
        "Elasticities are by category, and of prices that were tried; nothing else is known.",
        "Costs are the agreed share of the shelf price, not the retailer's own.",
    )
    task: PricingTask
    facts: PricingFacts

    def __init__(
        self, task: AnyTask, facts: PricingFacts, model: nn.Module, value: Floats, error: Floats
    ) -> None:
        super().__init__(task, facts, model)
        self.value, self.error = value, error

    @classmethod
    def of_member(cls, problem: LocalProblem, model: nn.Module) -> Self:
        """See `ServedModel`."""
        task, member = problem.task, problem.data
        assert isinstance(task, PricingTask)
        assert isinstance(member, PricingMember)
        return cls(task, problem.facts, model, *task.personalized(model, member))

    @classmethod
    def opened(cls, task: AnyTask, facts: Any, model: nn.Module, own: OwnPart) -> Self:  # noqa: ANN401
        """See `ServedModel`."""
        parts = [own.tensors[name].double().numpy() for name in ("elasticity", "error")]
        if any(part.shape != (len(facts.words.keys),) for part in parts):
            raise ValueError("elasticities are of other categories")
        return cls(task, facts, model, *parts)

    def own_part(self) -> OwnPart:
        """See `ServedModel`."""
        tensors = {"elasticity": torch.from_numpy(self.value)}
        return OwnPart(tensors | {"error": torch.from_numpy(self.error)}, {})

    def evaluate(self, member: Any, split: Split) -> dict[str, MetricSums]:  # noqa: ANN401
        """See `ServedModel`."""
        assert isinstance(member, PricingMember)
        return {name: scored(member, name, split, self.value, self.error) for name in member.sales}

    def parts(self, member: Any, count: int) -> Sequence[PricingMember]:  # noqa: ANN401
        """See `ServedModel`; by product."""
        assert isinstance(member, PricingMember)
        return [
            replace(
                member,
                sales={
                    name: replace(
                        one,
                        rows=one.rows[part::count],
                        category=one.category[part::count],
                        relative=one.relative[part::count],
                        units=one.units[part::count],
                    )
                    for name, one in member.sales.items()
                },
            )
            for part in range(count)
        ]

    def held_out(self, member: Any, tables: RetailerTables) -> HeldOut | None:  # noqa: ANN401
        """See `ServedModel`; what is expected at other prices, which no held-out week has seen."""
        del tables
        assert isinstance(member, PricingMember)
        prices, sales, keys = (
            member.prices[member.name],
            member.sales[member.name],
            member.keys,
        )
        table = self.task.price_table((prices, sales), keys, self.value, self.error)
        if table.empty:
            return None
        takings = (table["price"] * table["units_a_week"]).groupby(table["category"]).sum()
        ordered = takings.sort_values(ascending=False, kind="stable")
        curves = tuple(
            self._curve(keys.index(str(name)), str(name), float(value))
            for name, value in ordered.items()
        )
        split = self.task.split
        return PriceCurves(curves, split.confidence, 100 * split.max_change)

    def _curve(self, key: int, name: str, takings: float) -> PriceCurve:
        value, error = float(self.value[key]), float(self.error[key])
        rows = price_curve(usual_product(value, error, self.task.split), self.task.split)
        change = rows["change_percent"].to_numpy(np.float64)
        revenue, margin = (
            rows[[f"{kind}_percent", f"{kind}_low", f"{kind}_high"]].to_numpy(np.float64).T
            for kind in ("revenue", "margin")
        )
        return PriceCurve(name, value, error, takings, change, revenue, margin)

    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield a row a product: its prices, and what is expected of them in a week.

        Elasticities and revenues have bounds at `pricing.confidence`; see `ServedModel`.
        """
        days = tables.transactions["time"].to_numpy("datetime64[D]")
        if not len(days):
            raise InputError("there is no purchase")
        end = days.max() + np.timedelta64(1, "D") if request.as_of is None else request.as_of
        weeks = steps_until(self.facts.weeks[0], days.min(), end, WEEK)
        needed = 2 + self.task.split.validation_steps + self.task.split.test_steps
        if len(weeks) < needed:
            raise InputError(f"{len(weeks)} complete weeks are known, but {needed} are needed")
        facts = replace(self.facts, weeks=weeks)
        lines = Lines.of(tables, weeks)
        market = self.task.market(tables.name, lines, facts)
        keys = self.facts.words.keys
        yield self._expected(self.task.price_table(market, keys, self.value, self.error))

    def _expected(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with bounds of the elasticities, and revenues for their changes."""
        if table.empty:
            raise InputError("no product sells enough to recommend its price (pricing.min_mean)")
        reach = float(ndtri((1 + self.task.split.confidence) / 2)) * table["standard_error"]
        now = table["price"] * table["units_a_week"]
        table["elasticity_low"] = (table["elasticity"] - reach).clip(upper=0)
        table["elasticity_high"] = (table["elasticity"] + reach).clip(upper=0)
        table["revenue"] = now
        table["revenue_expected"] = table["recommended"] * table["units_expected"]
        table["revenue_low"] = now + table.pop("revenue_change_low")
        table["revenue_high"] = now + table.pop("revenue_change_high")
        return table
