import pytest
import torch

import securefl
from securefl.errors import InputError, RunDirectoryError
from securefl.federation.runs.directory import RunDirectory
from securefl.ml.tensor_io import read_tensors, write_tensors


def test_a_finished_run_scores_as_it_did(small_run):
    result, directory = small_run()
    again = securefl.evaluate(directory.path)
    assert again.overall == result.metrics["federated"]
    assert again.members == {m.name: m.metrics["federated"] for m in result.members}


def test_members_get_their_own_local_part_back(small_run):
    result, directory = small_run(kind="purchases", rounds=2)
    again = securefl.evaluate(directory.path)
    assert again.members == {m.name: m.metrics["federated"] for m in result.members}


def test_the_best_round_counts_on_validation_too(small_run):
    result, directory = small_run()
    record = directory.records()[result.best_round - 1]
    assert securefl.evaluate(directory.path, "validation").overall == record.validation


def test_evaluating_writes_nothing(small_run):
    _, directory = small_run()
    before = {p: p.stat().st_mtime_ns for p in directory.path.rglob("*")}
    securefl.evaluate(directory.path)
    assert before == {p: p.stat().st_mtime_ns for p in directory.path.rglob("*")}


def test_an_unfinished_run_has_nothing_to_score(tmp_path, small_config):
    RunDirectory.create(tmp_path / "run", small_config())
    with pytest.raises(RunDirectoryError, match="--resume"):
        securefl.evaluate(tmp_path / "run")


def test_an_unknown_split(small_run):
    _, directory = small_run()
    with pytest.raises(InputError, match="validation"):
        securefl.evaluate(directory.path, "tset")


def test_weights_of_another_model(small_run):
    _, directory = small_run()
    tensors, metadata = read_tensors(directory.model_path)
    name = next(iter(tensors))
    write_tensors(directory.model_path, {**tensors, name: torch.zeros(1, 1, 1)}, metadata)
    with pytest.raises(RunDirectoryError, match="does not match its run"):
        securefl.evaluate(directory.path)
