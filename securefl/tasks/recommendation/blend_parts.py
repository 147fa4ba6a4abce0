"""The parts of a blend: their models side by side, their examples, and when each takes steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration, resolve
from securefl.ml.batches import Batch
from securefl.ml.item_rows import Axis, Block
from securefl.ml.metrics.score_blending import DefaultWeights
from securefl.tasks.common.histories import CustomerExamples, Histories
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.recommendation.personalization import Parts, PersonalizedTask
from securefl.tasks.recommendation.settings import (
    BlendSettings,
    PartSettings,
    PopularitySettings,
)
from securefl.tasks.recommendation.task import RankingFacts, RankingMember, RecommendationTask

_FLOOR: Final = 0.1
"""Added to a product's share of sales, in units of the mean product's, before the logarithm."""


class Popularity(nn.Module):
    """Recent sales by product, up to a common factor.

    Args:
        products: Number of products I.
    """

    largest: ClassVar[float] = 4.0
    """A product that sells beyond that is far above the mean, and no less popular for the cap."""

    def __init__(self, products: int) -> None:
        super().__init__()
        self.sales = nn.Parameter(torch.zeros(products))

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`."""
        return {"sales": Axis(0, (Block.of_items(len(self.sales)),))}

    @torch.no_grad()
    def settle(self, histories: Histories, samples: int) -> None:
        """Set the sales to those of histories: the mean over samples, times the products.

        Weighted by samples, the mean over members is that of all their purchases. So scaled, the
        mean product has the mean weight of a purchase, whatever the size of the catalogue.
        """
        count = len(self.sales)
        summed = torch.zeros(count, dtype=torch.float64)
        summed.index_add_(0, histories.items.long(), histories.weights.double())
        mean = summed * (count / max(samples, 1))
        self.sales.copy_(mean.clamp(max=self.largest))

    def scores(self, customers: int) -> Tensor:
        """Return the logarithm of each product's share of the sales, float [B, I]."""
        unit = self.sales.mean().clamp(min=torch.finfo(self.sales.dtype).tiny)
        return (self.sales / unit + _FLOOR).log().expand(customers, -1)


class BlendModel(nn.Module):
    """Models side by side; no parameter belongs to two of them.

    Args:
        parts: The parts by name.
        own: Names of those that stay at the retailer as a whole.
    """

    def __init__(self, parts: Mapping[str, nn.Module], own: Collection[str]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(dict(parts))
        local = {f"parts.{name}" for name in own}
        for name, part in parts.items():
            names: frozenset[str] = getattr(part, "local_parameters", frozenset())
            local |= {f"parts.{name}.{one}" for one in names}
        self.local_parameters = frozenset(local)
        """See `securefl.ml.parameters`; which ones stay follows from the configuration here."""


@runtime_checkable
class Sum(Protocol):
    """A part that is a sum over purchases and takes no step of gradient descent."""

    def settle(self, histories: Histories, samples: int) -> None:
        """Set the parameters to a mean over samples of histories."""


class PopularityTask(RecommendationTask):
    """Recent sales as a part of a blend."""

    settings: PopularitySettings

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """Return the customers, their purchases weighted by age."""
        return cut.recent_examples(self.settings.days)

    def model(self, facts: RankingFacts, customers: int) -> Popularity:
        """Return sales of 0."""
        del customers
        return Popularity(len(facts.products))

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`; the same for every customer."""
        del cases
        assert isinstance(model, Popularity)
        return model.scores(len(index))


@dataclass(frozen=True)
class Part:
    """A trained part.

    Attributes:
        settings: What was configured.
        task: Its task.
    """

    settings: PartSettings
    task: RecommendationTask

    @classmethod
    def of(cls, settings: PartSettings, config: RunConfig) -> Part:
        """Build it under the configuration of the blend."""
        choice = declaration(settings.task).choice(settings.model.name)
        changed = {"task": settings.task, "model": settings.model}
        kind = PopularityTask
        if not isinstance(settings.model, PopularitySettings):
            assert choice is not None
            assert choice.part is not None  # the configuration was validated
            kind = resolve(choice.part)
        return cls(settings, kind(config.model_copy(update=changed)))

    def trains_in(self, number: int) -> bool:
        """Whether it takes steps in a round, counted from 1; a sum takes none."""
        rounds = self.settings.rounds
        return not self.settings.is_sum and (rounds is None or number <= rounds)

    def scores(self, model: nn.Module) -> Parts:
        """Return its score components."""
        if isinstance(self.task, PersonalizedTask):
            return self.task.shared_parts(model)
        return partial(self.task.parts, model)


def default_weights(settings: BlendSettings) -> DefaultWeights | None:
    """Return the public weights of all parts that are held; None where one of them has none."""
    held = [part for _, part in sorted(settings.held.items())]
    # A model that is never shared stands behind the trained ones: see `BlendTask.evaluate`.
    ordered = sorted(held, key=lambda part: part.never_shared)
    found = [part.weights for part in ordered if part.weights is not None]
    if len(found) < len(ordered):
        return None
    values = [weight for one in found for weight in one]
    return DefaultWeights(torch.tensor(values, dtype=torch.float64), settings.default_cases)


@dataclass(frozen=True)
class BlendExamples(CustomerExamples):
    """Customers as the training examples of all parts.

    Attributes:
        parts: Part to its own examples of the same customers.
        samples: The FedAvg weight of their party.
        own: Names of the parts that stay at the retailer.
        active: Names of the parts that take steps.
        first: Whether this is the first round, in which sums are set.
    """

    parts: Mapping[str, CustomerExamples]
    samples: int
    own: frozenset[str]
    active: frozenset[str] = frozenset()
    first: bool = True

    def sized_batch(self, index: Tensor, width: int | None) -> Batch:
        """Return how many tensors each part has, int64 [P], and the tensors; 0 where it rests."""
        batches = [
            self.parts[name].sized_batch(index, width) if name in self.active else ()
            for name in self.parts
        ]
        counts = torch.tensor([len(batch) for batch in batches])
        return counts, *(tensor for batch in batches for tensor in batch)

    def settle(self, model: nn.Module) -> None:
        """See `SettlingExamples`.

        Shared ones once alone: two sums of one list, with another cohort each, would tell a
        member's own. What stays at the retailer is set in every round that it takes part in.
        """
        for name, part in blend_model(model).parts.items():
            if isinstance(part, Sum) and (self.first or name in self.own):
                part.settle(self.parts[name].histories, self.samples)


def blend_model(model: nn.Module) -> BlendModel:
    """Return the model as a blend.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, BlendModel):
        raise TypeError(f"{type(model).__name__} is no blend")
    return model


def blend_examples(member: RankingMember) -> BlendExamples:
    """Return a member's examples of all parts.

    Raises:
        TypeError: If it has none.
    """
    if not isinstance(member.examples, BlendExamples):
        raise TypeError(f"{member.name} has no examples of a blend")
    return member.examples
