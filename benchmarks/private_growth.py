"""How a private recommender grows with its customers: 1k, 10k and 100k a retailer at epsilon 2.

Five retailers with synthetic purchases of the same products (docs/reference/data.md, `purchases`),
customer unit, delta 1e-6. Each size runs in a process of its own, so that its memory can be told.
`--products` learns factors of products in four steps on all customers, with their sums taken by
sparse matrices (`factor_sums.py`); of 100,000 customers a retailer one retailer's cases are scored.
`cpu_s` is the private training of all five retailers, `own cpu_s` what they train for themselves
and never release, `whole cpu_s` both with drawing, cutting and scoring the data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from factor_sums import learned
from harness import Row, main, peak_megabytes
from newcomer import hits, joined, with_error
from private_federation import arms_of, exact_arms, noised_lists, rows_of, train_privately
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.privacy.accounting.calibration import Budget
from securefl.tasks.recommendation.personalization import personal_weights

EPSILON = 2.0
STEPS = 4


@dataclass(frozen=True)
class Size:
    """What grows with the customers.

    Attributes:
        sampling_rate: Share of a retailer's customers in a private step.
        batch_size: Customers in a step of what a retailer trains for itself.
        rounds: At most, of the latter; each is two passes over the customers.
    """

    sampling_rate: float
    batch_size: int
    rounds: int


SIZES = {
    1_000: Size(1.0, 64, 10),
    10_000: Size(0.3, 256, 6),
    100_000: Size(0.05, 512, 1),
}
ARMS = ("federated", "released", "alone", "popularity_private", "popularity")


def benchmark(quick: bool) -> list[Row]:
    """Each size in a process of its own."""
    rows = []
    for customers in [*SIZES][: 1 if quick else None]:
        for option in ("--customers", "--products"):
            command = [sys.executable, __file__, option, str(customers)]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            rows += [Row(row.pop("case"), row) for row in json.loads(found)]
        print(f"{customers} customers a retailer: done", file=sys.stderr, flush=True)
    return rows


def configuration(customers: int, learns: str = "categories") -> RunConfig:
    """One run; the shared model starts from nothing, so that all it knows it learned privately."""
    size = SIZES[customers]
    options: dict[str, Any] = {
        "task": "recommendation",
        "rounds": 10,
        "data": {
            "source": "tutorial",
            "table": "purchases",
            "shared_items": True,
            "customers": customers,
            "items": 320,
        },
        "model": {
            "name": "profile",
            "learns": learns,
            "popularity_step": 1.0,
            "repeat": 0.0,
            "own": {"batch_size": size.batch_size, "rounds": size.rounds},
        },
        "recommendation": {"min_products": 12},
        "privacy": {
            "dp": "local",
            "epsilon": EPSILON,
            "delta": 1e-6,
            "clip_norm": 0.25,
            "sampling_rate": size.sampling_rate,
            "expected_batch": size.sampling_rate * customers,
            "steps": 3,
            "learning_rate": 50.0,
        },
    }
    return load_config(None, options)


def measured(customers: int) -> list[Row]:
    """One size: utility, time and memory."""
    started = time.process_time()
    config = configuration(customers)
    prepared = prepare_data(config, load(config.data))
    release, seconds = timed(lambda: train_privately(prepared, EPSILON))
    _, own = timed(lambda: train_own_parts(prepared))
    arms = exact_arms(prepared) | arms_of(prepared, release) | noised_lists(prepared, EPSILON)
    costs = {
        "sigma": round(release.sigma, 2),
        "cpu_s": round(seconds, 1),
        "own cpu_s": round(own, 1),
        "whole cpu_s": round(time.process_time() - started, 1),
        "peak megabytes": round(peak_megabytes()),
    }
    return rows_of(f"{customers:,} customers:", [{arm: arms[arm] for arm in ARMS}], **costs)


def of_products(customers: int) -> list[Row]:
    """One size with factors of products: alone, released and served on the same cases."""
    started = time.process_time()
    config = configuration(customers, "products")
    prepared = prepare_data(config, load(config.data))
    model = prepared.task.model(prepared.facts, 0)
    histories = [member.examples.histories for member in prepared.members]
    arms = {}
    for name, budget in (("epsilon 2", Budget(EPSILON, 1e-6)), ("no noise", None)):
        torch.manual_seed(0)
        trained, seconds = timed(partial(learned, deepcopy(model), histories, budget, STEPS))
        arms[name] = trained, seconds
    scored = prepared.members[:1] if customers >= 100_000 else prepared.members
    _, own = timed(lambda: [member.local for member in scored])
    numbers = sum(layer.weight.numel() for layer in model.released())
    rows = []
    for name, (trained, seconds) in arms.items():
        row = {"cpu_s": round(seconds, 1), "own cpu_s": round(own, 1)}
        row |= {"numbers a round": numbers, "steps": STEPS}
        row["peak megabytes"] = round(peak_megabytes())
        row |= paired(prepared.task, trained, scored)
        row["whole cpu_s"] = round(time.process_time() - started, 1)
        rows.append(Row(f"{customers:,} customers: products, {name}", row))
    return rows


def paired(task, model, members) -> dict[str, float]:
    """HR@10 of all arms, and of served less alone, with standard errors over cases."""
    shown: dict[str, float] = {}
    for arm, values in arm_hits(task, model, members).items():
        shown |= with_error(arm, values)
    return shown


@torch.no_grad()
def arm_hits(task, model, members) -> dict[str, torch.Tensor]:
    """Hits of alone, released and served, and of served less alone, float64 [n] each."""
    found: dict[str, list[torch.Tensor]] = {"alone": [], "released": [], "served": []}
    shared = task.shared_parts(model)
    for member in members:
        own, cases = member.local, member.cases[member.name]

        def alone(cases, index, own=own, name=member.name):
            return own.scores(name, cases, index).unsqueeze(2)

        weights = personal_weights(shared, own, member.name, cases).float()
        found["alone"].append(hits(alone, torch.ones(1), cases["test"]))
        count = len(weights) - 1
        found["released"].append(hits(shared, torch.ones(count), cases["test"]))
        found["served"].append(hits(joined(alone, shared), weights, cases["test"]))
    every = {arm: torch.cat(one).double() for arm, one in found.items()}
    return every | {"served - alone": every["served"] - every["alone"]}


def train_own_parts(prepared: Prepared) -> None:
    """What each retailer keeps to itself; it is trained when it is first asked for."""
    for member in prepared.members:
        _ = member.local  # type: ignore[attr-defined]


def timed(action):
    """What an action gives, and its CPU seconds."""
    started = time.process_time()
    return action(), time.process_time() - started


if __name__ == "__main__":
    if "--products" in sys.argv:
        print(json.dumps([row.as_json() for row in of_products(int(sys.argv[-1]))]))
    elif "--customers" in sys.argv:
        print(json.dumps([row.as_json() for row in measured(int(sys.argv[-1]))]))
    else:
        sys.exit(main(__doc__.splitlines()[0], benchmark))
