"""The released profile model, and a denoised list for the whole budget, under the same noise.

The real data, five retailers, customer unit, delta 1e-5, three seeds. "One noise" is that of a
trusted curator, which shares of noise under masks come to where nobody drops out or colludes;
"local" is each retailer's own. The list is the same sum, released once, with the same denoising.
`--quick` is one seed at epsilon 4.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from harness import Row, main
from private_federation import Release, Tallies, rows_of, train_privately
from private_recommendation import EPSILONS, said
from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.batches import Batch
from securefl.ml.metrics.ranking import ranking_tally
from securefl.ml.parameters import load_shared
from securefl.tasks.recommendation.private_profile import listed_ranker


def benchmark(quick: bool) -> list[Row]:
    data = load(load_config(None, {"task": "recommendation"}).data)
    seeds, epsilons = (1, (4.0,)) if quick else (3, EPSILONS)
    found: dict[str, list[dict[str, Tallies]]] = {}
    seconds: dict[str, float] = {}
    for seed in range(seeds):
        options = {"model": {"name": "profile"}, "privacy": {"dp": "local", "epsilon": 1.0}}
        prepared = prepare_data(load_config(None, {"seed": seed, **options}), data)
        for epsilon in epsilons:
            for one_noise in (True, False) if math.isfinite(epsilon) else (True,):
                case = f"epsilon {epsilon:g} {'one noise' if one_noise else 'local'}:"
                started = time.process_time()
                arms = both(prepared, epsilon, one_noise)
                seconds[case] = round(time.process_time() - started, 1)
                found.setdefault(case, []).append(arms)
                said(f"seed {seed}: {case}", rows_of("", [arms]))
    return [row for case, arms in found.items() for row in rows_of(case, arms, cpu_s=seconds[case])]


def both(prepared: Prepared, epsilon: float, one_noise: bool) -> dict[str, Tallies]:
    """The released model, and the list for the whole budget."""
    once = replace(prepared, config=prepared.config.model_copy(update={"rounds": 1}))
    listed = train_privately(once, epsilon, one_noise=one_noise, loss=list_alone)
    return {
        "released": released(prepared, train_privately(prepared, epsilon, one_noise=one_noise)),
        "denoised list": ranked_by_list(prepared, listed),
    }


def list_alone(model: nn.Module, batch: Batch) -> Tensor:
    """A loss whose gradient is a customer's part of the list, at the whole clip norm of 1."""
    _, items, weights, _ = batch
    return -listed_ranker(model).listed(items, weights)


@torch.no_grad()
def released(prepared: Prepared, release: Release) -> Tallies:
    model = prepared.task.model(prepared.facts, 0).eval()
    load_shared(model, release.shared)
    score = prepared.task.evaluate_shared
    return {m.name: score(model, m, "test")[m.name] for m in prepared.members}


@torch.no_grad()
def ranked_by_list(prepared: Prepared, release: Release) -> Tallies:
    model = prepared.task.model(prepared.facts, 0).eval()
    load_shared(model, release.shared)
    cases = {m.name: m.cases[m.name]["test"].ranking for m in prepared.members}
    listed = listed_ranker(model)
    return {
        name: ranking_tally(lambda index: listed.common(len(index)), ranking)
        for name, ranking in cases.items()
    }


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], benchmark))
