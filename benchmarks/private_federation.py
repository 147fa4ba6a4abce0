"""Private rounds as a run makes them, without messages: for experiments that make many of them.

Every member clips and noises its own steps with a key of the operating system; the shared model
moves by the mean of the members' changes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from harness import Row
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.runs.prepare import Prepared
from securefl.ml.batches import Batch
from securefl.ml.metrics.ranking import ranking_tally
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.parameters import load_shared, shared_vector
from securefl.ml.vectors import FloatVector
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.tasks.recommendation.dp_popularity import noised_popularity

SHOWN = ("hr@10", "ndcg@10")
Tallies = dict[str, MetricSums]


@dataclass(frozen=True)
class Release:
    """A shared model and what it cost each member: sigma 0 and epsilon infinite without noise."""

    shared: FloatVector
    sigma: float
    epsilon: float


def train_privately(
    prepared: Prepared,
    epsilon: float,
    *,
    one_noise: bool = False,
    loss: Callable[[nn.Module, Batch], Tensor] | None = None,
) -> Release:
    """All rounds of a run under one budget; `math.inf` clips but adds no noise.

    Args:
        prepared: The run.
        epsilon: Its budget.
        one_noise: Whether all members together add the noise of one, as a trusted curator would.
        loss: Another loss than the task's.
    """
    privacy = prepared.config.privacy
    steps = prepared.config.rounds * privacy.steps
    sigma = (
        0.0
        if math.isinf(epsilon)
        else noise_multiplier(
            Budget(epsilon, privacy.delta), sampling_rate=privacy.sampling_rate, steps=steps
        )
    )
    if one_noise:
        sigma /= math.sqrt(len(prepared.members))
    settings = PrivateSettings(
        sampling=SamplingPlan(privacy.sampling_rate, privacy.steps, privacy.expected_batch),
        clip_norm=privacy.clip_norm,
        noise_multiplier=sigma,
        optimizer=privacy.optimizer,
        learning_rate=privacy.learning_rate,
        momentum=privacy.momentum,
        weight_decay=privacy.weight_decay,
        path=privacy.gradients,
    )
    model = prepared.task.model(prepared.facts, 0)
    accountants = [PrivacyAccountant() for _ in prepared.members]
    shared = prepared.shared
    server = ServerOptimizer(prepared.config.server, len(shared))
    torch.manual_seed(prepared.config.seed)
    for _ in range(prepared.config.rounds):
        changes = []
        for member, accountant in zip(prepared.members, accountants, strict=True):
            load_shared(model, shared)
            trainer = PrivateTrainer(
                model,
                member.examples,
                loss or prepared.task.loss,
                settings,
                stream=AesCtrRng(),
                accountant=accountant,
            )
            trainer.train_round()
            trainer.close()
            changes.append(shared_vector(model) - shared)
        shared = server.apply(shared, np.mean(changes, axis=0, dtype=np.float64))
    return Release(shared, sigma, max(a.epsilon(privacy.delta) for a in accountants))


@torch.no_grad()
def arms_of(prepared: Prepared, release: Release) -> dict[str, Tallies]:
    """What is served and what is released, on the test cases of each member."""
    model = prepared.task.model(prepared.facts, 0)
    load_shared(model, release.shared)
    model.eval()
    score = {"federated": prepared.task.evaluate, "released": prepared.task.evaluate_shared}
    return {
        arm: {m.name: one(model, m, "test")[m.name] for m in prepared.members}
        for arm, one in score.items()
    }


@torch.no_grad()
def exact_arms(prepared: Prepared) -> dict[str, Tallies]:
    """Each retailer with all that it can do alone, and its popularity list; nothing is noised."""
    return {
        "alone": {
            m.name: prepared.task.evaluate_local(m, "test")[m.name] for m in prepared.members
        },
        "popularity": {m.name: prepared.task.baseline(m, "test")[m.name] for m in prepared.members},
    }


def noised_lists(prepared: Prepared, epsilon: float) -> dict[str, Tallies]:
    """Each retailer's own noised popularity list, and the sum of all of them, shown to everybody.

    Every retailer spends the whole budget on its one release.
    """
    settings = prepared.config.privacy.model_copy(update={"dp": "local", "epsilon": epsilon})
    lists = {
        m.name: noised_popularity(
            m.name, m.examples.histories, len(prepared.facts.products), settings
        )
        for m in prepared.members
    }
    everybody = torch.stack(list(lists.values())).sum(dim=0)
    return {
        "popularity_private": {m.name: _listed(lists[m.name], m) for m in prepared.members},
        "popularity_private, summed": {m.name: _listed(everybody, m) for m in prepared.members},
    }


def _listed(scores, member) -> MetricSums:
    cases = member.cases[member.name]["test"]
    return ranking_tally(partial(_repeated, scores), cases.ranking)


def _repeated(scores, index):
    return scores.expand(len(index), -1)


def rows_of(case: str, seeds: Sequence[Mapping[str, Tallies]], **facts: float) -> list[Row]:
    """One row an arm: mean and spread over seeds of all retailers' cases, then each retailer's."""
    return [
        Row(f"{case} {arm}", facts | _measured([seed[arm] for seed in seeds])) for arm in seeds[0]
    ]


def _measured(seeds: Sequence[Tallies]) -> dict[str, float]:
    measured = {}
    overall = [total(tallies.values()).values() for tallies in seeds]
    for metric in SHOWN:
        values = [numbers[metric] for numbers in overall]
        measured[metric] = _mean(values)
        measured[f"{metric} sd"] = round(statistics.stdev(values), 4) if len(values) > 1 else 0.0
    for name in seeds[0]:
        for metric in SHOWN:
            measured[f"{name} {metric}"] = _mean(t[name].values()[metric] for t in seeds)
    return measured


def _mean(values: Iterable[float]) -> float:
    return round(statistics.fmean(values), 4)
