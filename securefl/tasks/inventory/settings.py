"""Settings of the stock: how series are split, what stock costs, and which rule orders it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from securefl.tasks.demand.settings import DemandSettings


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
