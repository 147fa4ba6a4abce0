"""Whole runs over Flower: the same weights as on one machine, and what a node may do."""

import time
from contextlib import ExitStack
from pathlib import Path

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
    same_weights(Path(result.run_dir), on_one_machine(tmp_path / "local", config))
    assert audit_run(Path(result.run_dir)).verdict != "fail"


def test_weights_over_superlink_and_supernodes(tmp_path):
    """Five members and three rounds by the commands of docs/howto/flower.md, to their end.

    At the pace at which nodes look for messages: eight minutes on two cores with nothing else.
    """
    from support.flower_cluster import Cluster
    from support.flower_grid import found

    names = tuple(f"retailer-{number}" for number in range(5))
    config = network_config("secure")
    config = config.model_copy(update={"data": config.data.model_copy(update={"retailers": 5})})
    assert config.rounds == 3
    group = found(tmp_path / "group", config, names)
    with ExitStack() as stack:
        cluster = Cluster(tmp_path / "flower", stack)
        cluster.open([group.socket(name) for name in names])
        members = [cluster.member(group, name) for name in names]
        cluster.run(group.hub)
        for name, process in zip(names, members, strict=True):
            assert process.wait(3600) == 0, cluster.said(name)[-3000:]
        until = time.monotonic() + 60
        while not (group.folder / "run" / "result.json").exists():
            assert time.monotonic() < until, cluster.said("superlink")[-3000:]
            time.sleep(0.1)
    same_weights(group.folder / "run", on_one_machine(tmp_path / "local", config))
    assert audit_run(group.folder / "run").verdict != "fail"
