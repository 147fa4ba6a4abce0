"""Where the noise is added: by each retailer, in shares under the masks, or by one trusted curator.

The real data, five retailers, customer unit, delta 1e-5, three seeds, equal epsilon for all. The
curator sees every sum and adds continuous Gaussian noise once. `noise` is the standard deviation of
all noise on the mean gradient, as drawn; `ratio` is that over the curator's.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from harness import Row, main
from private_federation import Release, Tallies, arms_of, exact_arms, rows_of
from private_recommendation import said
from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.parameters import load_shared, shared_vector
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.distributed_plan import DistributedPlan
from securefl.privacy.dpsgd.poisson_sampling import PoissonSampler, SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.encoding.gradients import gradient_integers
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.grid import GridNoise
from securefl.privacy.plan import PrivacyPlan

EPSILONS = (0.5, 1.0, 2.0, 4.0)
AGREED = {
    "distributed, nobody drops out or colludes": {"minimum": 5, "colluding": 0},
    "distributed, one may drop out and one collude": {"minimum": 4, "colluding": 1},
}
"""Fewest survivors and colluders that the shares are sized for; all five survive here."""

Mean = Callable[[list[np.ndarray]], np.ndarray]
"""From the members' clipped sums, float64 [d] each, to the noised mean gradient."""


@dataclass(frozen=True)
class Trained:
    """A model, and the deviation of the noise on its mean gradients."""

    release: Release
    noise: float


def benchmark(quick: bool) -> list[Row]:
    data = load(load_config(None, {"task": "recommendation"}).data)
    seeds, epsilons = (1, (2.0,)) if quick else (3, EPSILONS)
    found: dict[str, list[dict[str, Tallies]]] = {}
    noise: dict[str, list[float]] = {}
    exact = []
    for seed in range(seeds):
        prepared = prepared_for(data, seed, 1.0, AGREED[next(iter(AGREED))])
        exact.append(exact_arms(prepared))
        for epsilon in epsilons:
            for arm, one in placements(data, seed, epsilon).items():
                trained = train(prepared, one)
                case = f"epsilon {epsilon:g} {arm}:"
                found.setdefault(case, []).append(arms_of(prepared, trained.release))
                noise.setdefault(case, []).append(trained.noise)
                said(f"seed {seed}: {case}", rows_of("", found[case][-1:]))
    rows = []
    for case, arms in found.items():
        central = statistics.fmean(noise[case.split()[0] + " " + case.split()[1] + " central:"])
        deviation = statistics.fmean(noise[case])
        facts = {"noise": round(deviation, 6), "ratio": round(deviation / central, 3)}
        rows += rows_of(case, arms, **facts)
    return [*rows, *rows_of("no privacy:", exact)]


def prepared_for(data, seed: int, epsilon: float, agreed: dict[str, int]) -> Prepared:
    options = {
        "seed": seed,
        "cohort": {"minimum": agreed["minimum"]},
        "privacy": {
            "dp": "distributed",
            "epsilon": epsilon,
            "distributed": {"colluding": agreed["colluding"]},
        },
    }
    return prepare_data(load_config(None, options), data)


def placements(data, seed: int, epsilon: float) -> dict[str, Mean]:
    """Arm to how its noise gets into the mean."""
    config = prepared_for(data, seed, epsilon, AGREED[next(iter(AGREED))]).config
    plan = PrivacyPlan.of(config)
    sigma = plan.sigma(plan.rounds)
    batch, clip = config.privacy.expected_batch, config.privacy.clip_norm

    def gaussian(size: int) -> np.ndarray:
        return GridNoise(AesCtrRng()).noised(np.zeros(size), clip, sigma)

    def central(sums: list[np.ndarray]) -> np.ndarray:
        return -(sum(sums) + gaussian(len(sums[0]))) / (len(sums) * batch)

    def local(sums: list[np.ndarray]) -> np.ndarray:
        return -sum(one + gaussian(len(one)) for one in sums) / (len(sums) * batch)

    arms: dict[str, Mean] = {"local": local, "central": central}
    for arm, agreed in AGREED.items():
        arms[arm] = shares(prepared_for(data, seed, epsilon, agreed).config)
    return arms


def shares(config) -> Mean:
    """The members' real shares, rounded, noised and summed as integers are."""
    samplers = {}

    def mean(sums: list[np.ndarray]) -> np.ndarray:
        plan = DistributedPlan.of(config, len(sums), len(sums[0]))
        if not samplers:
            samplers["share"] = plan.noise.sampler()
        parts = []
        for one in sums:
            share = np.empty(len(one), dtype=np.int64)
            samplers["share"].fill(AesCtrRng(), share)
            share += gradient_integers(one, config.privacy, plan.limit)
            parts.append(np.ldexp(share.astype(np.float64), -plan.code.bits))
        return sum(parts) / len(parts)

    return mean


def train(prepared: Prepared, mean: Mean) -> Trained:
    """All rounds; the members' gradients are those of a run, in single precision."""
    settings, model = prepared.config.privacy, prepared.task.model(prepared.facts, 0)
    sampling = SamplingPlan(settings.sampling_rate, 1, settings.expected_batch)
    private = PrivateSettings(sampling, settings.clip_norm, 0.0, "sgd", path=settings.gradients)
    shared, drawn = prepared.shared, []
    torch.manual_seed(prepared.config.seed)
    for _ in range(prepared.config.rounds):
        sums = []
        for member in prepared.members:
            load_shared(model, shared)
            stream = AesCtrRng()
            trainer = PrivateTrainer(
                model,
                member.examples,
                prepared.task.loss,
                private,
                stream=stream,
                accountant=PrivacyAccountant(),
            )
            index = PoissonSampler(sampling, len(member.examples), stream).batch()
            sums.append(trainer.clipped_sum(index).double().numpy())
            trainer.close()
        change = mean(sums)
        exact = -sum(sums) / (len(sums) * settings.expected_batch)
        drawn.append(float(np.std(change - exact)))
        rate = prepared.config.server.learning_rate
        shared = (shared + rate * change).astype(np.float32)
    load_shared(model, shared)
    return Trained(Release(shared_vector(model), 0.0, 0.0), statistics.fmean(drawn))


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], benchmark))
