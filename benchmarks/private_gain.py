"""What a private federation adds to what is served, on the Complete Journey, case by case.

Five retailers, `profile` at epsilon 4 with one noise (unit customer, delta 1e-5), three seeds, and
the same without noise: what no budget can be ahead of. Standard errors are over held-out purchases,
paired, each purchase averaged over seeds. `--quick` is one seed.
"""

from __future__ import annotations

import math
import sys

import torch

from harness import Row, main
from newcomer import with_error
from private_federation import train_privately
from private_growth import arm_hits
from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import prepare_data
from securefl.ml.parameters import load_shared


def benchmark(quick: bool) -> list[Row]:
    data = load(load_config(None, {"task": "recommendation"}).data)
    found: dict[float, list[dict[str, torch.Tensor]]] = {4.0: [], math.inf: []}
    for seed in range(1 if quick else 3):
        options = {"model": {"name": "profile"}, "privacy": {"dp": "local", "epsilon": 4.0}}
        prepared = prepare_data(load_config(None, {"seed": seed, **options}), data)
        for epsilon, arms in found.items():
            release = train_privately(prepared, epsilon, one_noise=True)
            model = prepared.task.model(prepared.facts, 0).eval()
            load_shared(model, release.shared)
            arms.append(arm_hits(prepared.task, model, prepared.members))
            print(seed, epsilon, row(arms), file=sys.stderr, flush=True)
    return [Row(f"epsilon {epsilon:g}", row(arms)) for epsilon, arms in found.items()]


def row(seeds: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Means over seeds of each purchase, then over purchases."""
    shown: dict[str, float] = {}
    for arm in seeds[0]:
        shown |= with_error(arm, torch.stack([one[arm] for one in seeds]).mean(dim=0))
    return shown


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], benchmark))
