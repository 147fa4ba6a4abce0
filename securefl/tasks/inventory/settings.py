"""Settings of the stock policy and its costs, and of the split of series."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from securefl.tasks.demand.settings import DemandSettings


class InventorySettings(DemandSettings):
    """Split of the series, and costs of their stock in any currency."""

    policy: Literal["newsvendor", "reorder"] = Field(
        "newsvendor",
        description="newsvendor: each week is stocked anew, and what is left is written off."
        " reorder: stock is kept, and filled up to S once it falls to s.",
    )
    holding_cost: PositiveFloat = Field(
        1.0, description="Cost of a unit left at the end of a week; newsvendor: written off."
    )
    shortage_cost: PositiveFloat = Field(4.0, description="Cost of a unit of unmet demand.")
    order_cost: NonNegativeFloat = Field(
        200.0, description="Fixed cost of an order; reorder alone."
    )
    lead_time: NonNegativeInt = Field(
        1, description="Weeks between an order and its arrival; reorder alone."
    )
    unmet: Literal["lost", "backordered"] = Field(
        "lost", description="Treatment of unmet demand; reorder alone."
    )

    @property
    def critical_level(self) -> float:
        """Probability with which demand should be met: cu / (cu + co), Arrow et al. (1951)."""
        return self.shortage_cost / (self.shortage_cost + self.holding_cost)

    @property
    def horizon(self) -> int:
        """Weeks that an order has to cover, until the next one arrives."""
        return 1 if self.policy == "newsvendor" else self.lead_time + 1
