"""Specification of the task `inventory`; no torch here."""

from __future__ import annotations

from typing import Final

from securefl.config.load import packaged
from securefl.config.metric_labels import MetricLabel
from securefl.config.task_spec import ModelSpec, TaskSpec
from securefl.tasks.common.disclosures import UNITS_SOLD
from securefl.tasks.common.privacy_units import A_BUYER, A_LINE
from securefl.tasks.demand.settings import QuantileForecasterSettings
from securefl.tasks.inventory.settings import InventorySettings

_NAIVE: Final = "Moving average, safety stock"


def _label(title: str, meaning: str, *, better: bool, percent: bool, headline: bool) -> MetricLabel:
    return MetricLabel(title, meaning, better, percent, _NAIVE, headline)


INVENTORY: Final = TaskSpec(
    name="inventory",
    description="how much to keep in stock",
    models=(
        ModelSpec(
            QuantileForecasterSettings,
            "securefl.tasks.inventory.task:InventoryTask",
            "securefl.tasks.inventory.task:PrivateInventoryTask",
            served="securefl.tasks.inventory.task:ServedOrderLevels",
            units={"customer": A_BUYER, "record": A_LINE},
            trained_under=("local",),
        ),
    ),
    split_settings=InventorySettings,
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
    disclosure=UNITS_SOLD,
)
