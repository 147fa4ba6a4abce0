"""What privacy for every customer costs a recommender on the real data, and what joining gains.

Five retailers, customer unit, delta 1e-5, three seeds: the model that members serve, the model that
they release, noised popularity under the same budget, and, without privacy, each retailer alone,
FedAvg, and popularity. All on the same test cases. `epsilon` is what a member spent in one run.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace

from harness import Row, main
from private_federation import (
    Tallies,
    arms_of,
    exact_arms,
    noised_lists,
    rows_of,
    train_privately,
)
from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from tuning_recommendation import best_round, learners

EPSILONS = (1.0, 2.0, 4.0, 8.0, math.inf)
Seeds = list[dict[str, Tallies]]


def benchmark(quick: bool) -> list[Row]:
    """Every seed with every budget; the own part of a member is trained once a seed."""
    data = load(load_config(None, {"task": "recommendation"}).data)
    seeds, epsilons = (1, (4.0,)) if quick else (3, EPSILONS)
    exact: Seeds = []
    private: dict[float, Seeds] = {epsilon: [] for epsilon in epsilons}
    costs: dict[float, dict[str, float]] = {}
    for seed in range(seeds):
        options = {"seed": seed, "privacy": {"dp": "local", "epsilon": 1.0}}
        prepared = prepare_data(load_config(None, options), data)
        factors = {"seed": seed, "model": {"name": "mf"}}
        plain = prepare_data(load_config(None, factors), data)
        exact.append(exact_arms(prepared) | plain_arms(plain, 1 if quick else 10))
        said(f"seed {seed}: without privacy", rows_of("", exact[-1:]))
        for epsilon in epsilons:
            arms, costs[epsilon] = private_arms(prepared, epsilon)
            private[epsilon].append(arms)
            said(f"seed {seed}: epsilon {epsilon:g}", rows_of("", [arms]))
    rows = [
        row
        for epsilon, found in private.items()
        for row in rows_of(f"epsilon {epsilon:g}:", found, **costs[epsilon])
    ]
    return [*rows, *rows_of("no privacy:", exact)]


def private_arms(prepared: Prepared, epsilon: float) -> tuple[dict[str, Tallies], dict[str, float]]:
    """The arms under one budget, and what the last training took."""
    started = time.process_time()
    release = train_privately(prepared, epsilon)
    seconds = round(time.process_time() - started, 1)
    arms = arms_of(prepared, release)
    if math.isfinite(epsilon):
        arms |= noised_lists(prepared, epsilon)
    costs = {"sigma": round(release.sigma, 2), "training cpu_s": seconds}
    return arms, costs


def plain_arms(prepared: Prepared, rounds: int) -> dict[str, Tallies]:
    """Without privacy: the tuned factorisation at each retailer alone, and FedAvg of it."""
    apart = prepared.config.model_copy(update={"training": prepared.config.references.alone})
    single = replace(prepared, config=apart)
    alone = {
        learner.data.name: best_round(single, [learner], rounds)[1][0]
        for learner in learners(single, pooled=False)
    }
    parties = learners(prepared, pooled=False)
    tests = best_round(prepared, parties, rounds)[1]
    together = {party.data.name: tally for party, tally in zip(parties, tests, strict=True)}
    return {"alone, factorisation": alone, "FedAvg, factorisation": together}


def said(what: str, rows: list[Row]) -> None:
    """A line an arm on stderr: the whole takes an hour on a busy machine."""
    for row in rows:
        found = " / ".join(str(row.measured[metric]) for metric in ("hr@10", "ndcg@10"))
        print(f"{what}:{row.case} {found}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], benchmark))
