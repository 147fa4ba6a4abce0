"""Specification of the task `churn`; no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from securefl.config.load import packaged
from securefl.config.metric_labels import MetricLabel
from securefl.config.privacy import Unit
from securefl.config.score_bounds import ScoreBound, ScoreTable
from securefl.config.task_spec import Disclosure, ModelSpec, TaskSpec
from securefl.tasks.churn.settings import ChurnSettings, LogisticSettings, MlpSettings

_RECENCY: Final = "Recency alone"


def _label(title: str, meaning: str, *, higher: bool, headline: bool) -> MetricLabel:
    return MetricLabel(
        title=title,
        meaning=meaning,
        higher_is_better=higher,
        percent=False,
        baseline=_RECENCY,
        headline=headline,
    )


_UNITS: Final[Mapping[Unit, str]] = {
    "customer": "everything that one retailer knows of one customer"
}
_SCORES: Final[Mapping[Unit, ScoreTable]] = {
    "customer": ScoreTable("released", {"log_loss": ScoreBound(4.0), "brier": ScoreBound(1.0)})
}
"""One case a customer; a log loss above 4, a probability below 0.018, counts as 4."""
_TASK: Final = "securefl.tasks.churn.task:ChurnTask"
_SERVED: Final = "securefl.tasks.churn.serving:ServedChurn"
_PRIVATE_TASK: Final = "securefl.tasks.churn.personalized:PrivateChurnTask"

_DISCLOSURE: Final = Disclosure(
    model=(
        "How signs such as the time since the last visit go with staying away, over all members;"
        " its intercept says how common that is among all members' customers together."
    ),
    delicate=False,
    competition=(
        "Behaviour of past customers, combined over members; it holds no price, volume or future"
        " plan. A rate of lost customers can be commercially sensitive where two or three members"
        " make up the whole sum."
    ),
)

CHURN: Final = TaskSpec(
    name="churn",
    description="which customers will not come back",
    models=(
        ModelSpec(
            LogisticSettings, _TASK, _PRIVATE_TASK, served=_SERVED, units=_UNITS, scores=_SCORES
        ),
        ModelSpec(MlpSettings, _TASK, _PRIVATE_TASK, served=_SERVED, units=_UNITS, scores=_SCORES),
    ),
    split_settings=ChurnSettings,
    defaults={
        "complete-journey": packaged(__package__, "complete-journey"),
        "tutorial": packaged(__package__, "tutorial"),
    },
    changes={
        ("complete-journey", "local"): packaged(__package__, "complete-journey-local"),
        ("complete-journey", "distributed"): packaged(__package__, "complete-journey-distributed"),
    },
    labels={
        "auc": _label(
            "AUC",
            "how often who stays away ranks above who returns",
            higher=True,
            headline=True,
        ),
        "average_precision": _label(
            "Average precision",
            "right alarms down to each who stays away",
            higher=True,
            headline=True,
        ),
        "log_loss": _label(
            "Log loss", "negative log-likelihood of the outcome", higher=False, headline=True
        ),
        "brier": _label(
            "Brier score", "squared error of the probabilities", higher=False, headline=False
        ),
        "calibration_error": _label(
            "Calibration error", "how far probabilities are off", higher=False, headline=False
        ),
    },
    facts=("securefl.tasks.churn.examples:ChurnFacts",),
    disclosure=_DISCLOSURE,
)
