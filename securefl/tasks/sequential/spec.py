"""Specification of the task `sequential`; no torch here."""

from __future__ import annotations

from typing import Final

from securefl.config.load import packaged
from securefl.config.privacy import PROTECTED
from securefl.config.task_spec import ModelSpec, TaskSpec
from securefl.tasks.common.disclosures import WHAT_SELLS
from securefl.tasks.common.settings import RecommendationSettings
from securefl.tasks.recommendation.spec import RANKING_SCORES
from securefl.tasks.sequential.settings import AttentionSettings, GruSettings

A_SEQUENCE: Final = "everything that one customer bought at one retailer, and in which order"


_PRIVATE: Final = packaged(__package__, "complete-journey-private")


SEQUENTIAL: Final = TaskSpec(
    name="sequential",
    description="which products a customer buys next, from what they bought in order",
    models=tuple(
        ModelSpec(
            settings,
            "securefl.tasks.sequential.task:SequentialTask",
            "securefl.tasks.sequential.private:PrivateSequentialTask",
            served="securefl.tasks.recommendation.serving:ServedRanking",
            units={"customer": A_SEQUENCE},
            scores=RANKING_SCORES,
            part="securefl.tasks.sequential.task:SequentialTask",
            unused_in_part=("own",),
            under_budget=("own",),
            changes={
                protection: {"model": {**_PRIVATE["model"], "name": name}}
                for protection in PROTECTED
            },
        )
        for name, settings in (("gru", GruSettings), ("attention", AttentionSettings))
    ),
    split_settings=RecommendationSettings,
    defaults={"complete-journey": packaged(__package__, "complete-journey")},
    changes={("complete-journey", protection): _PRIVATE for protection in PROTECTED},
    facts=("securefl.tasks.recommendation.task:RankingFacts",),
    disclosure=WHAT_SELLS,
)
