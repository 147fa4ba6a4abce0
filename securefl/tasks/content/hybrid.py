"""Ranking by product features and product ids, new products included: `hybrid`, `content`."""

from __future__ import annotations

from typing import ClassVar

from securefl.tasks.content.cold_start import NewProductTask
from securefl.tasks.content.task import FeatureTask, PersonalizedFeatureTask
from securefl.tasks.recommendation.ease import EaseTask


class NewProductFeatureTask(NewProductTask, FeatureTask):
    """Ranks known and new products by the model alone."""


class HybridTask(NewProductTask, PersonalizedFeatureTask):
    """Features, and product ids once products were sold."""

    name: ClassVar[str] = "hybrid"
    twin: ClassVar[type[FeatureTask]] = NewProductFeatureTask


class ContentTask(HybridTask):
    """Features alone, without product ids."""

    name: ClassVar[str] = "content"


class HybridEaseTask(NewProductTask, EaseTask):
    """Co-purchases, with new products, of which the model knows nothing but the kind."""

    name: ClassVar[str] = "hybrid"
