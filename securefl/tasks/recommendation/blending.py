"""Personalized ranking: each retailer's local models blended with the shared private model.

Only the shared model is released. The local models and the weights of the blend stay at the
retailer, which selects them on its own validation purchases.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from torch import nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailerTables
from securefl.errors import ConfigError
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.common.histories import CustomerExamples, joined
from securefl.tasks.common.ranking_examples import RetailerCases
from securefl.tasks.recommendation.local_model import (
    LocalModels,
    local_settings,
    train_local_models,
    untrained_models,
)
from securefl.tasks.recommendation.personalization import Parts, PersonalizedTask
from securefl.tasks.recommendation.profile import ProfileTask
from securefl.tasks.recommendation.task import RankingFacts, RankingMember, RecommendationTask


@dataclass(frozen=True)
class BlendedMember(RankingMember):
    """A member with local models.

    Attributes:
        factorization_units: Training examples of the local factorisation.
        twin_units: Training examples of the twin.
        twin: Task of the twin, a local model of the shared one's kind.
        facts: What the members agree on.
    """

    factorization_units: CustomerExamples
    twin_units: CustomerExamples
    twin: RecommendationTask
    facts: RankingFacts

    @cached_property
    def local(self) -> LocalModels:
        """The local models, trained on first use."""
        apart = replace(self, examples=self.twin_units)
        return train_local_models(
            self.twin, self.facts, apart, self.factorization_units, local_settings(self.twin)
        )


class BlendedTask(PersonalizedTask):
    """Blends the shared model with each retailer's local models."""

    @abstractmethod
    def twin(self) -> RecommendationTask:
        """Return the task of a local model of the shared one's kind."""

    def twin_units(self, cut: RetailerCases) -> CustomerExamples:
        """Return the training examples of that model."""
        return self.units(cut)

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> BlendedMember:
        """See `RecommendationTask.member`."""
        plain = super().member(tables, cut, facts)
        return self._blended(plain, cut.examples(), self.twin_units(cut), facts)

    def pool(self, members: Sequence[RankingMember], facts: RankingFacts) -> BlendedMember:
        """See `RecommendationTask.pool`."""
        blended = [_blended_member(member) for member in members]
        units = joined([member.factorization_units for member in blended])
        twin_units = joined([member.twin_units for member in blended])
        return self._blended(super().pool(members, facts), units, twin_units, facts)

    def shared_parts(self, model: nn.Module) -> Parts:
        """See `PersonalizedTask`."""
        return partial(self.parts, model)

    def local_scores(self, member: RankingMember) -> LocalModels:
        """See `PersonalizedTask`."""
        return _blended_member(member).local

    def untrained(self, facts: RankingFacts, customers: int) -> LocalModels:
        """See `PersonalizedTask`."""
        return untrained_models(self.twin(), facts, customers)

    def evaluate_shared(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank by the released model alone."""
        return RecommendationTask.evaluate(self, model, member, split)

    def _blended(
        self,
        member: RankingMember,
        units: CustomerExamples,
        twin_units: CustomerExamples,
        facts: RankingFacts,
    ) -> BlendedMember:
        return BlendedMember(
            name=member.name,
            examples=member.examples,
            samples=member.samples,
            customers=member.customers,
            cases=member.cases,
            ids=member.ids,
            factorization_units=units,
            twin_units=twin_units,
            twin=self.twin(),
            facts=facts,
        )


class BlendedProfileTask(ProfileTask, BlendedTask):
    """Profiles, blended with each retailer's local models.

    Raises:
        ConfigError: If factors of products are asked for where no sum over customers is bounded.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        by_customer = mechanism_for(config.privacy).private and config.privacy.unit == "customer"
        if self.settings.learns == "products" and not by_customer:
            raise ConfigError("model.learns: 'products' takes a budget with unit 'customer'")

    def twin(self) -> ProfileTask:
        """See `BlendedTask`."""
        return ProfileTask(self.config)


def _blended_member(member: RankingMember) -> BlendedMember:
    if not isinstance(member, BlendedMember):
        raise TypeError(f"{member.name} has no local model")
    return member
