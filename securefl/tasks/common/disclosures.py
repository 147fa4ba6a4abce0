"""What tasks tell competitors, where several tasks tell the same."""

from __future__ import annotations

from typing import Final

from securefl.config.task_spec import Disclosure

WHAT_SELLS: Final = Disclosure(
    model=(
        "Which products are bought together and how popular they are over all members; with few"
        " members, a member that subtracts what it knows of itself learns about the others'"
        " assortment and best sellers."
    ),
    delicate=False,
    competition=(
        "Product popularity of past periods, combined over members. It holds no price, cost or"
        " future plan. Popularity of recent weeks in a market of few retailers can still be"
        " commercially sensitive: prefer older data, more members and noise."
    ),
)
"""Of every task that ranks products for customers."""

UNITS_SOLD: Final = Disclosure(
    model=(
        "How sales move with season, promotions and their own past, over all members together. Most"
        " inputs are ratios to a series' own past; a network on raw units (tutorial-forecaster) can"
        " tell the average level of sales as well."
    ),
    delicate=True,
    competition=(
        "Forecasts of demand are information on the future. Exchanged between competitors they can"
        " restrict competition by object. Here each member computes its own forecast on its own"
        " machine, and no member or coordinator receives another's; what is shared is a model of"
        " past sales. Counsel should confirm that the model alone does not reveal a competitor's"
        " planned volumes or promotions."
    ),
)
"""Of every task that forecasts what a retailer sells."""
