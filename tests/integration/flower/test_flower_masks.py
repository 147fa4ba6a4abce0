"""The masks alone, under a plain strategy of Flower: the example as it stands."""

import os
import runpy
from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest

from securefl_protocols import Roster, SigningKey
from support.paths import ROOT

pytest.importorskip("flwr", reason="the extra 'flower' has an environment of its own")
pytestmark = pytest.mark.slow


def test_masked_strategy_has_the_mean_of_all_updates():
    """Two rounds of three members; the server sees no update, and every member verifies the sum."""
    from flwr.app import Array, ArrayRecord

    from support.flower_grid import LoopGrid

    example = runpy.run_path(str(ROOT / "examples" / "flower_masks.py"))
    updates = np.random.default_rng(3).normal(size=(3, 2, 5)).astype(np.float32)
    keys = [SigningKey.generate(os.urandom) for _ in updates]
    roster = Roster(("north", "south", "west"), tuple(key.public for key in keys))
    start = np.zeros((2, 5), np.float32)
    common = example["agreed"](roster, start.size)
    seen = []

    def node(index):
        def train(model):
            seen.append((index, model.copy()))
            return updates[index] * (1 + model.mean())

        return partial(
            example["answer"], common=common, index=index, identity=keys[index], train=train
        )

    with ExitStack() as stack:
        grid = LoopGrid([(node(index), {}) for index in range(3)], stack)
        strategy = example["MaskedFedAvg"](grid, common, start)
        arrays = ArrayRecord({"model": Array(start)})
        found = strategy.start(grid, arrays, num_rounds=2).arrays["model"].numpy()
    first = updates.mean(0)
    np.testing.assert_allclose(found, first + first * (1 + first.mean()), atol=1e-5)
    assert sorted(index for index, _ in seen) == [0, 0, 1, 1, 2, 2]
