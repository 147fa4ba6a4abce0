"""Whole runs over Flower: the same weights as on one machine, and what a node may do."""

import pytest

from securefl.audit.export import audit_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors
from support.small_runs import NETWORK_MEMBERS as NAMES
from support.small_runs import network_config

pytest.importorskip("flwr", reason="the extra 'flower' has an environment of its own")
pytestmark = pytest.mark.slow


def same_weights(one, other):
    left, right = (read_tensors(path / "model.safetensors")[0] for path in (one, other))
    assert left.keys() == right.keys()
    assert all((left[name] == right[name]).all() for name in left)


def on_one_machine(path, config):
    off = config.references.model_copy(update={"enabled": False})
    run(RunDirectory.create(path, config.model_copy(update={"references": off})))
    return path


def test_weights_over_a_grid_are_those_of_the_local_engine(tmp_path):
    from support.flower_grid import found, looped

    config = network_config("secure")
    group = found(tmp_path / "group", config, NAMES)
    result, _ = looped(group)
    same_weights(result.run_dir, on_one_machine(tmp_path / "local", config))
    assert audit_run(result.run_dir).verdict in {"pass", "warn"}
