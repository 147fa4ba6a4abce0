"""Whole runs on purchases in order."""

import pytest
import torch

from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors
from support.task_configs import sequential_config

PRIVATE = {"dp": "local", "epsilon": 4.0, "delta": 1e-3, "expected_batch": 20.0}


def test_masked_and_plain_runs_learn_the_same(purchases, tmp_path):
    found = []
    for mode in ("plain", "secure"):
        wide = {"secure": {"bits": 64}, "mode": mode, "rounds": 2, "model": {"name": "gru"}}
        config = sequential_config(purchases, wide)
        directory = RunDirectory.create(tmp_path / mode, config)
        found.append((run(directory).metrics["federated"], read_tensors(directory.model_path)[0]))
    (plain, expected), (secure, weights) = found
    assert secure == pytest.approx(plain, abs=1e-6)
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-6, rtol=0)


def test_a_private_run_stays_within_its_budget_and_serves_the_own_part(purchases, tmp_path):
    config = sequential_config(
        purchases, {"rounds": 2, "model": {"name": "gru"}, "privacy": PRIVATE}
    )
    result = run(RunDirectory.create(tmp_path / "run", config))
    assert {member.epsilon <= 4.0 for member in result.privacy.members} == {True}
    assert result.metrics["federated"]["hr@10_full"] > 0
    assert {"released", "popularity_private"} <= result.metrics.keys()
