"""Specification of the task `demand`; no torch here."""

from __future__ import annotations

from typing import Final

from securefl.config.load import packaged
from securefl.config.task_spec import ModelSpec, TaskSpec
from securefl.tasks.common.disclosures import UNITS_SOLD
from securefl.tasks.common.privacy_units import A_BUYER, A_LINE
from securefl.tasks.demand.settings import (
    DemandSettings,
    ForecasterSettings,
    QuantileForecasterSettings,
    TutorialForecasterSettings,
)

_DEMAND = "securefl.tasks.demand.task:DemandTask"


_PRIVATE_DEMAND = "securefl.tasks.demand.personalized:PrivateDemandTask"


_QUANTILES = "securefl.tasks.demand.quantile_task:QuantileTask"


_PRIVATE_QUANTILES = "securefl.tasks.demand.quantile_task:PrivateQuantileTask"


DEMAND: Final = TaskSpec(
    name="demand",
    description="how many units sell in the coming week or day",
    models=tuple(
        ModelSpec(
            settings,
            task,
            private,
            served="securefl.tasks.demand.serving:ServedForecaster",
            units={"customer": A_BUYER, "record": A_LINE},
            trained_under=("local",),
        )
        for settings, task, private in (
            (ForecasterSettings, _DEMAND, _PRIVATE_DEMAND),
            (QuantileForecasterSettings, _QUANTILES, _PRIVATE_QUANTILES),
            (TutorialForecasterSettings, _DEMAND, _PRIVATE_DEMAND),
        )
    ),
    split_settings=DemandSettings,
    defaults={
        "complete-journey": packaged(__package__, "complete-journey"),
        "tutorial": packaged(__package__, "tutorial"),
    },
    changes={("complete-journey", "local"): packaged(__package__, "complete-journey-local")},
    facts=(
        "securefl.tasks.demand.task:DemandFacts",
        "securefl.tasks.demand.series:Vocabulary",
    ),
    releases="series",
    disclosure=UNITS_SOLD,
)
