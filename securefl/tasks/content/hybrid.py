"""Ranking by what products are and by themselves, new products included: `hybrid` and `content`."""

from __future__ import annotations

from typing import ClassVar

from securefl.tasks.content.cold_start import NewProductTask
from securefl.tasks.content.task import FeatureTask, PersonalizedFeatureTask
from securefl.tasks.recommendation.ease import EaseTask


class NewProductFeatureTask(NewProductTask, FeatureTask):
    """Ranks known and new products by the model alone."""


class HybridTask(NewProductTask, PersonalizedFeatureTask):
    """Features, and products themselves once they were sold."""

    name: ClassVar[str] = "hybrid"
    twin: ClassVar[type[FeatureTask]] = NewProductFeatureTask


class ContentTask(HybridTask):
    """Features alone: no product is known by itself."""

    name: ClassVar[str] = "content"


class HybridEaseTask(NewProductTask, EaseTask):
    """What is bought together, with new products, of which it knows nothing but their kind."""

    name: ClassVar[str] = "hybrid"
