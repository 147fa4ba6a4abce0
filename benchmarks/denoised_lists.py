"""A popularity list under the same noise as a model, and what the public catalogue makes of it.

Post-processing: nothing of a customer is read but what was released, so that it costs no budget. A
product's true sum comes from a law of its category, and that from a law of all products; both are
fitted to the noised sums by maximum likelihood on a grid (Kiefer and Wolfowitz 1956; Koenker and
Mizera 2014), and the list is of posterior means. With one law for all products the order would stay
as it is, for a posterior mean rises with what was observed; it is the catalogue that helps.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from harness import Row, main
from private_federation import rows_of
from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.metrics.ranking import ranking_tally, same_for_all
from securefl.ml.metrics.sums import MetricSums
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.tasks.recommendation.dp_popularity import bounded_counts

Tallies = dict[str, MetricSums]
EPSILONS = (1.0, 2.0, 4.0, 8.0, math.inf)
_GRID = 120
_STEPS = 60
_BORROWED = 20.0
"""A category's law counts as much as so many products of all."""


def benchmark(quick: bool) -> list[Row]:
    """Every budget, the mean of three draws of the noise."""
    config = load_config(None, {"privacy": {"dp": "local", "epsilon": 1.0}})
    prepared = prepare_data(config, load(config.data))
    found: list[Row] = []
    for epsilon in EPSILONS[2:3] if quick else EPSILONS:
        runs = [lists_under(prepared, epsilon, seed) for seed in range(1 if quick else 3)]
        found += rows_of(f"list under epsilon {epsilon:g}:", runs)
    return found


def lists_under(prepared: Prepared, epsilon: float, seed: int) -> dict[str, Tallies]:
    """Lists under a budget, one release for all of it: by each retailer's own noise, and by one."""
    budget = Budget(epsilon, prepared.config.privacy.delta)
    sigma = noise_multiplier(budget, sampling_rate=1.0, steps=1) if epsilon < math.inf else 0.0
    products = len(prepared.facts.products)
    exact = {m.name: bounded_counts(m.examples.histories, products) for m in prepared.members}
    generator = torch.Generator().manual_seed(seed)
    noise = {
        name: sigma * torch.randn(products, generator=generator, dtype=torch.float64)
        for name in exact
    }
    own = {name: counts + noise[name] for name, counts in exact.items()}
    # As many shares as members, each of their part of the variance, are one noise on the sum.
    once = sum(exact.values()) + sum(noise.values()) / math.sqrt(len(noise))
    every = {
        "own noise, each its own list": (own, sigma),
        "own noise, all lists summed": (_same(sum(own.values()), own), sigma * len(own) ** 0.5),
        "one noise, all lists summed": (_same(once, own), sigma),
    }
    found = {}
    category = prepared.facts.levels[1]
    for said, (lists, deviation) in every.items():
        found[said] = _listed(prepared, lists)
        better = {name: denoised(one, category, deviation) for name, one in lists.items()}
        found[f"{said}, denoised"] = _listed(prepared, better)
    return found


def denoised(noised: Tensor, groups: Tensor, deviation: float) -> Tensor:
    """Posterior means of the sums, float64 [I], given noise of one deviation and groups, [I]."""
    if not deviation:
        return noised
    grid = torch.linspace(0.0, max(float(noised.max()), deviation), _GRID, dtype=torch.float64)
    # Denser where most products are: the square of an even grid.
    grid = grid.square() / grid[-1]
    likely = torch.exp(-0.5 * ((noised[:, None] - grid) / deviation).square())
    common = torch.full((_GRID,), 1 / _GRID, dtype=torch.float64)
    for _ in range(_STEPS):
        common = _posterior(likely, common.expand(len(noised), -1)).mean(dim=0)
    laws = common.expand(int(groups.max()) + 1, -1)
    for _ in range(_STEPS):
        summed = torch.zeros_like(laws).index_add_(0, groups, _posterior(likely, laws[groups]))
        laws = (summed + _BORROWED * common) / (summed.sum(dim=1, keepdim=True) + _BORROWED)
    return _posterior(likely, laws[groups]) @ grid


def _posterior(likely: Tensor, law: Tensor) -> Tensor:
    joint = likely * law
    return joint / joint.sum(dim=1, keepdim=True).clamp(min=1e-300)


def _same(one: Tensor, names: Sequence[str] | dict[str, Tensor]) -> dict[str, Tensor]:
    return dict.fromkeys(names, one)


def _listed(prepared: Prepared, lists: dict[str, Tensor]) -> Tallies:
    found = {}
    for member in prepared.members:
        ranking = member.cases[member.name]["test"].ranking
        found[member.name] = ranking_tally(partial(same_for_all, lists[member.name]), ranking)
    return found


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], benchmark))
