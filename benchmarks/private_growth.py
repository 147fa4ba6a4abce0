"""How a private recommender grows with its customers: 1k, 10k and 100k a retailer at epsilon 2.

Five retailers with synthetic purchases of the same products (docs/reference/data.md, `purchases`),
customer unit, delta 1e-6. Each size runs in a process of its own, so that its memory can be told.
`cpu_s` is the private training of all five retailers, `own cpu_s` what they train for themselves
and never release, `whole cpu_s` both with drawing, cutting and scoring the data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from harness import Row, main, peak_megabytes
from private_federation import arms_of, exact_arms, noised_lists, rows_of, train_privately
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data

EPSILON = 2.0


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
        command = [sys.executable, __file__, "--customers", str(customers)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        rows += [Row(row.pop("case"), row) for row in json.loads(found)]
        print(f"{customers} customers a retailer: done", file=sys.stderr, flush=True)
    return rows


def configuration(customers: int) -> RunConfig:
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


def train_own_parts(prepared: Prepared) -> None:
    """What each retailer keeps to itself; it is trained when it is first asked for."""
    for member in prepared.members:
        _ = member.local  # type: ignore[attr-defined]


def timed(action):
    """What an action gives, and its CPU seconds."""
    started = time.process_time()
    return action(), time.process_time() - started


if __name__ == "__main__":
    if "--customers" in sys.argv:
        print(json.dumps([row.as_json() for row in measured(int(sys.argv[-1]))]))
    else:
        sys.exit(main(__doc__.splitlines()[0], benchmark))
