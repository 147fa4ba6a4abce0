"""The task `inventory`, as it declares itself: what stock costs, and which rule orders it."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from securefl.config.load import packaged
from securefl.config.metric_labels import MetricLabel
from securefl.config.task_spec import ModelSpec, TaskSpec
from securefl.tasks.common.privacy_units import A_BUYER, A_LINE
from securefl.tasks.demand.settings import DemandSettings, QuantileForecasterSettings


class InventorySettings(DemandSettings):
    """Cuts of the series, and costs of their stock in multiples of any currency."""

    policy: Literal["newsvendor", "reorder"] = Field(
        "newsvendor",
        description="newsvendor: each week is stocked anew, and what is left is written off."
        " reorder: stock is kept, and filled up to S once it falls to s.",
    )
    holding_cost: PositiveFloat = Field(
        1.0, description="Of a unit that is left at the end of a week; newsvendor: written off."
    )
    shortage_cost: PositiveFloat = Field(4.0, description="Of a unit that was asked for in vain.")
    order_cost: NonNegativeFloat = Field(
        200.0, description="Of an order, however large; reorder alone."
    )
    lead_time: NonNegativeInt = Field(
        1, description="Weeks between an order and its arrival; reorder alone."
    )
    unmet: Literal["lost", "backordered"] = Field(
        "lost", description="What becomes of demand that finds no stock; reorder alone."
    )

    @property
    def critical_level(self) -> float:
        """Probability with which demand should be met: cu / (cu + co), Arrow et al. (1951)."""
        return self.shortage_cost / (self.shortage_cost + self.holding_cost)

    @property
    def horizon(self) -> int:
        """Weeks that an order has to last for: until the next one arrives."""
        return 1 if self.policy == "newsvendor" else self.lead_time + 1


_NAIVE: Final = "Moving average, safety stock"


def _label(title: str, meaning: str, *, better: bool, percent: bool, headline: bool) -> MetricLabel:
    return MetricLabel(title, meaning, better, percent, _NAIVE, headline)


INVENTORY: Final = TaskSpec(
    name="inventory",
    learns="how much to keep in stock",
    models=(
        ModelSpec(
            QuantileForecasterSettings,
            "securefl.tasks.inventory.task:InventoryTask",
            "securefl.tasks.inventory.task:PrivateInventoryTask",
            units={"customer": A_BUYER, "record": A_LINE},
            trained_under=("local",),
        ),
    ),
    cuts=InventorySettings,
    defaults={"complete-journey": packaged(__package__, "complete-journey")},
    changes={
        ("complete-journey", "local"): packaged("securefl.tasks.demand", "complete-journey-local")
    },
    labels={
        "stock_cost": _label(
            "Cost",
            "of stock, shortage and orders, a unit sold",
            better=False,
            percent=False,
            headline=True,
        ),
        "fill_rate": _label(
            "Fill rate", "share of demand served at once", better=True, percent=True, headline=True
        ),
        "in_stock": _label(
            "In stock",
            "share of weeks that never ran out",
            better=True,
            percent=True,
            headline=False,
        ),
        "left_over": _label(
            "Left over",
            "units at the end of a week, in percent of demand",
            better=False,
            percent=True,
            headline=False,
        ),
    },
    facts=(
        "securefl.tasks.demand.task:DemandFacts",
        "securefl.tasks.demand.series:Vocabulary",
    ),
    releases="series",
    outputs={"order-levels": "what to order up to next week"},
)
