"""A blend: several models of the family, weighted by each retailer on its own validation.

The parts are trained side by side, in the rounds of one run: the shared vector is that of the
shared parts one after another, so that masks, ledger, checkpoints and audit see one model. A part
whose rounds are over keeps its parameters, and its change is 0. Parts that are sums are set once,
in the first round. docs/adr/0011-blend.md.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar, Final, Self

import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError
from securefl.ml.batches import Batch
from securefl.ml.item_rows import ItemRows
from securefl.ml.metrics.ranking import ranking_tally
from securefl.ml.metrics.score_blending import chosen_weights
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.common.histories import joined
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.recommendation.blend_parts import (
    BlendExamples,
    BlendModel,
    Part,
    blend_examples,
    blend_model,
    default_weights,
)
from securefl.tasks.recommendation.own_neighbours import NeighbourScores, fits_memory
from securefl.tasks.recommendation.personalization import (
    LocalScores,
    Parts,
    PersonalizedTask,
    Splits,
)
from securefl.tasks.recommendation.settings import (
    BlendSettings,
    NeighbourSettings,
)
from securefl.tasks.recommendation.task import (
    Blend,
    CaseScores,
    RankingFacts,
    RankingMember,
)

_CHUNK: Final = 256


@dataclass(frozen=True)
class BlendFacts(RankingFacts):
    """What all members agree on.

    Attributes:
        parts: Facts of each trained part, in the order of their names; None where they are these.
    """

    format_name: ClassVar[str] = "BlendFacts"
    parts: tuple[RankingFacts | None, ...]


@dataclass(frozen=True)
class BlendMember(RankingMember):
    """A member with scores of its own.

    Attributes:
        unfitted: Its own item-to-item model before it is fitted; None without such a part.
    """

    unfitted: NeighbourScores | None

    @cached_property
    def local(self) -> LocalScores:
        """Its own scores, computed on first use."""
        # The blend has one weight for each part, and these scores none of their own.
        weights = {name: torch.zeros(0) for name in self.cases}
        if self.unfitted is None:
            return NoScores(weights=weights, validation={})
        return self.unfitted.fitted(self.examples.histories, self.cases, weights)


class BlendTask(PersonalizedTask):
    """Ranks by several models at once."""

    settings: BlendSettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        held = dict(sorted(self.settings.held.items()))
        self.trained = {
            name: Part.of(part, config) for name, part in held.items() if not part.never_shared
        }
        own = [one.model for one in held.values() if isinstance(one.model, NeighbourSettings)]
        self.neighbours = own[0] if own else None
        self.default = default_weights(self.settings)
        self.own = frozenset(n for n, part in self.trained.items() if part.settings.holder == "own")
        sums = [n for n, part in self.trained.items() if part.settings.is_sum and n not in self.own]
        if sums and config.server.optimizer != "fedavg":
            raise ConfigError(
                f"server.optimizer: '{config.server.optimizer}' would change what part '{sums[0]}'"
                " sums; a blend with such a part takes 'fedavg'"
            )

    @property
    def sums_once(self) -> bool:
        """See `Task.sums_once`: with a shared list there is one."""
        return any(
            part.settings.is_sum and name not in self.own for name, part in self.trained.items()
        )

    def by_itself(self) -> Self:
        """See `Task.by_itself`: all weights its own, which rank better there than drawn ones."""
        found = copy.copy(self)
        found.default = None
        return found

    def agree(self, data: RetailData) -> BlendFacts:
        """See `RecommendationTask.agree`; with what single parts need beyond it."""
        facts = super().agree(data)
        found = (part.task.agree(data) for part in self.trained.values())
        parts = tuple(None if type(one) is RankingFacts else one for one in found)
        return BlendFacts(**vars(facts), parts=parts)

    def units(self, cut: RetailerCases) -> BlendExamples:
        """Return the customers as the examples of all parts."""
        every = {name: part.task.units(cut) for name, part in self.trained.items()}
        examples = cut.examples()
        samples = len(examples.histories.items)
        return BlendExamples(**vars(examples), parts=every, samples=samples, own=self.own)

    def units_in(self, member: RankingMember, number: int) -> BlendExamples:
        """See `Task.units_in`: which parts take steps follows from the round."""
        examples = blend_examples(member)
        active = frozenset(name for name, part in self.trained.items() if part.trains_in(number))
        return replace(examples, active=active, first=number == 1)

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> BlendMember:
        """See `RecommendationTask.member`."""
        return self._with_own(super().member(tables, cut, facts), facts)

    def pool(self, members: Sequence[RankingMember], facts: RankingFacts) -> BlendMember:
        """See `RecommendationTask.pool`."""
        plain, every = super().pool(members, facts), [blend_examples(one) for one in members]
        parts = {name: joined([one.parts[name] for one in every]) for name in self.trained}
        examples = blend_examples(plain)
        pooled = replace(plain, examples=replace(examples, parts=parts, samples=plain.samples))
        return self._with_own(pooled, facts)

    def model(self, facts: RankingFacts, customers: int) -> BlendModel:
        """Return all trained parts."""
        modules = {
            name: part.task.model(one, customers)
            for (name, part), one in zip(self.trained.items(), _facts_of(facts), strict=True)
        }
        return BlendModel(modules, self.own)

    def item_rows(self, model: nn.Module, facts: RankingFacts) -> ItemRows | None:
        """See `Task.item_rows`; None if a part goes on from no earlier model."""
        found = {
            name: part.task.item_rows(module, one)
            for (name, part, module), one in zip(self._beside(model), _facts_of(facts), strict=True)
        }
        rows = {name: one for name, one in found.items() if one is not None}
        if len(rows) < len(found):
            return None
        axes = {f"parts.{n}.{key}": axis for n, r in rows.items() for key, axis in r.axes.items()}
        own = frozenset(f"parts.{n}.{key}" for n, one in rows.items() for key in one.customers)
        families = tuple(codes.numpy() for codes in facts.levels)
        return ItemRows(facts.products, families, axes, own)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum of the parts' losses, float [B]; they have no parameter in common."""
        counts, *tensors = batch
        total: Tensor | None = None
        start = 0
        for (_, part, module), count in zip(self._beside(model), counts.tolist(), strict=True):
            if count:
                found = part.task.loss(module, tuple(tensors[start : start + count]))
                total = found if total is None else total + found
            start += count
        # A round in which no part takes a step: no parameter has a gradient, so none moves, not
        # even by the momentum of an optimizer.
        nothing = torch.zeros(1, device=counts.device, requires_grad=True)
        return nothing if total is None else total

    def shared_parts(self, model: nn.Module) -> Parts:
        """Return the components of all trained parts, own ones too."""
        every = [part.scores(module) for _, part, module in self._beside(model)]

        def parts(cases: Cases, index: Tensor) -> Tensor:
            return torch.cat([one(cases, index) for one in every], dim=2)

        return parts

    def local_scores(self, member: RankingMember) -> LocalScores:
        """Return the retailer's item-to-item model, if it has one."""
        if not isinstance(member, BlendMember):
            raise TypeError(f"{member.name} has no blend")
        return member.local

    def untrained(self, facts: RankingFacts, customers: int) -> LocalScores:
        """See `PersonalizedTask`."""
        del customers
        found = self._unfitted(facts)
        return NoScores(weights={}, validation={}) if found is None else found

    def blend_weights(self, model: nn.Module, member: RankingMember) -> dict[str, Tensor]:
        """See `RecommendationTask.blend_weights`."""
        parts, own = self.shared_parts(model), self.local_scores(member)
        return {
            name: self._weights(_validation(parts, own, name, splits["validation"]), splits)
            for name, splits in member.cases.items()
        }

    def blended(self, model: nn.Module, blend: Blend) -> CaseScores:
        """See `RecommendationTask.blended`."""
        assert isinstance(blend.own, LocalScores)
        assert blend.weights is not None
        return partial(_weighted, _with_own(self.shared_parts(model), blend.own), blend.weights)

    def evaluate(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank by the blend, weights selected on validation."""
        parts, own, found = self.shared_parts(model), self.local_scores(member), {}
        beside = _with_own(parts, own) if split == "test" else None
        for name, splits in member.cases.items():
            known = _validation(parts, own, name, splits["validation"])
            weights = self._weights(known, splits)
            ranks = partial(_weighted, beside or known, weights, splits[split])
            found[name] = ranking_tally(ranks, splits[split].ranking)
        return found

    def evaluate_local(self, member: RankingMember, split: Split) -> dict[str, MetricSums] | None:
        """Return None: alone, a retailer trains the same blend."""
        del member, split
        return None

    def _weights(self, parts: Parts, splits: Splits) -> Tensor:
        validation = splits["validation"]
        return chosen_weights(partial(parts, validation), validation.ranking, self.default)

    def _beside(self, model: nn.Module) -> list[tuple[str, Part, nn.Module]]:
        modules = blend_model(model).parts
        return [(name, part, modules[name]) for name, part in self.trained.items()]

    def _unfitted(self, facts: RankingFacts) -> NeighbourScores | None:
        if self.neighbours is None:
            return None
        return NeighbourScores.unfitted(facts.levels, self.neighbours)

    def _with_own(self, member: RankingMember, facts: RankingFacts) -> BlendMember:
        return BlendMember(**vars(member), unfitted=self._unfitted(facts))


@dataclass(frozen=True, kw_only=True)
class NoScores(LocalScores):
    """A retailer without scores of its own."""

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`; float32 [B, I, 0]."""
        return torch.zeros(len(index), cases.prior.shape[0], 0)


def _facts_of(facts: RankingFacts) -> tuple[RankingFacts, ...]:
    assert isinstance(facts, BlendFacts)
    return tuple(facts if one is None else one for one in facts.parts)


def _validation(parts: Parts, own: LocalScores, retailer: str, cases: Cases) -> Parts:
    """Return the components of a retailer's validation cases, computed once where they fit."""
    if not fits_memory(cases):
        return _with_own(parts, own)
    known = own.validation.get(retailer)
    every = torch.split(torch.arange(len(cases.customers)), _CHUNK)
    found = torch.cat([parts(cases, index) for index in every])
    if known is not None:
        found = torch.cat([found, known[:, :, None]], dim=2)

    def looked_up(cases: Cases, index: Tensor) -> Tensor:
        del cases
        return found[index]

    return looked_up


def _with_own(parts: Parts, own: LocalScores) -> Parts:
    scores = own.scorer() if isinstance(own, NeighbourScores) else None

    def beside(cases: Cases, index: Tensor) -> Tensor:
        found = parts(cases, index)
        return found if scores is None else torch.cat([found, scores(cases, index)[:, :, None]], 2)

    return beside


def _weighted(parts: Parts, weights: Tensor, cases: Cases, index: Tensor) -> Tensor:
    return parts(cases, index) @ weights.float()
