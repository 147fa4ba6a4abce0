import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from securefl.errors import InputError, RunDirectoryError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors


def weights(directory):
    tensors, _ = read_tensors(directory.model_path)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def same(first, second):
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(small_run):
    (first, a), (second, b), (_, c) = (
        small_run("a"),
        small_run("b"),
        small_run("c", seed=1),
    )
    assert same(weights(a), weights(b))
    assert first.metrics == second.metrics
    assert not same(weights(a), weights(c))


@pytest.mark.slow
def test_worker_processes_give_the_same_bits(small_run):
    references = {"references": {"enabled": True}, "rounds": 2}
    one, a = small_run("one", **references)
    two, b = small_run("two", **references, engine={"workers": 2})
    assert same(weights(a), weights(b))
    assert one.metrics == two.metrics
    assert set(one.metrics) == {"federated", "alone", "pooled", "naive"}
    assert all(set(member.metrics) == set(one.metrics) for member in one.members)


@pytest.mark.slow
def test_a_run_killed_in_the_middle_goes_on_to_the_same_weights(tmp_path, small_run, small_config):
    changes = {"rounds": 8, "server": {"optimizer": "fedadam", "learning_rate": 0.01}}
    _, whole = small_run("whole", **changes)
    killed = RunDirectory.create(tmp_path / "killed", small_config(**changes))
    code = (
        "import sys; from pathlib import Path;"
        "from securefl.federation.runs.directory import RunDirectory;"
        "from securefl.federation.runs.run import run; run(RunDirectory.open(Path(sys.argv[1])))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(killed.path)])
    metrics = killed.path / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") >= 4):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert killed.result() is None
    resumed = run(RunDirectory.open(killed.path))
    assert same(weights(killed), weights(whole))
    assert resumed.metrics == whole.result().metrics
    assert [r.round for r in killed.records()] == list(range(1, 9))
    assert [r.validation for r in killed.records()] == [r.validation for r in whole.records()]


@pytest.mark.parametrize(
    "step",
    [pytest.param(step, marks=pytest.mark.slow) for step in ("members_saved", "round_saved")],
)
def test_a_kill_around_a_checkpoint_loses_no_scores(small_run, small_config, tmp_path, step):
    """The members have entered the round's scores; the coordinator has them, or had not yet."""
    _, whole = small_run("whole", rounds=4)
    killed = RunDirectory.create(tmp_path / "killed", small_config(rounds=4))
    code = (
        "import os, sys; from pathlib import Path;"
        "from securefl.federation.runs import loop;"
        "from securefl.federation.runs.directory import RunDirectory;"
        "from securefl.federation.runs.run import run;"
        "calls = [];"
        f"loop.Hooks.{step} = lambda *_: calls.append(1) or len(calls) < 2 or os._exit(9);"
        "run(RunDirectory.open(Path(sys.argv[1])))"
    )
    dead = subprocess.run([sys.executable, "-c", code, str(killed.path)], timeout=120, check=False)
    assert dead.returncode == 9
    resumed = run(RunDirectory.open(killed.path))
    assert resumed.best_round == whole.result().best_round
    assert resumed.metrics == whole.result().metrics
    assert [r.validation for r in killed.records()] == [r.validation for r in whole.records()]


def test_a_finished_run_is_not_run_again(small_run):
    result, directory = small_run()
    before = {p: p.stat().st_mtime_ns for p in directory.path.rglob("*") if p.name != ".lock"}
    assert run(RunDirectory.open(directory.path)) == result
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in before.items())


def test_nothing_is_overwritten(small_run, small_config):
    _, directory = small_run()
    with pytest.raises(RunDirectoryError, match="--resume"):
        RunDirectory.create(directory.path, small_config())


def test_two_processes_do_not_share_a_run(small_run):
    _, directory = small_run()
    with directory.locked(), pytest.raises(RunDirectoryError, match="in use"):
        run(RunDirectory.open(directory.path))


@pytest.mark.parametrize("victim", ["checkpoint.safetensors", "members"])
def test_a_damaged_checkpoint_is_one_clear_error(small_run, victim):
    _, directory = small_run()
    (directory.path / "result.json").unlink()
    place = directory.path / victim
    files = [place] if place.is_file() else sorted(place.rglob("*.safetensors"))
    for file in files:
        content = bytearray(file.read_bytes())
        content[-1] ^= 0x40
        file.write_bytes(content)
    with pytest.raises(RunDirectoryError if place.is_file() else InputError, match="damaged"):
        run(RunDirectory.open(directory.path))


@pytest.mark.slow
def test_a_warm_start_begins_where_the_other_run_ended(small_run):
    _, first = small_run("first")
    _, second = small_run("second", warm_start=str(first.model_path), rounds=1)
    cold = small_run("cold", rounds=1)[1].records()[0].loss
    assert second.records()[0].loss < cold


def test_weights_of_another_model_are_no_warm_start(small_run):
    _, first = small_run("first")
    with pytest.raises(InputError, match="another model"):
        small_run("second", warm_start=str(first.model_path), model={"hidden": 7})


def test_a_sampled_cohort_is_what_the_records_say(small_run):
    _, directory = small_run(cohort={"fraction": 0.5}, rounds=4)
    cohorts = [record.cohort for record in directory.records()]
    assert {len(cohort) for cohort in cohorts} == {3}
    assert len(set(cohorts)) > 1


@pytest.mark.parametrize("optimizer", ["fedavgm", pytest.param("fedadam", marks=pytest.mark.slow)])
def test_server_optimizers_and_fedprox_change_the_result(small_run, optimizer):
    _, plain = small_run("plain")
    _, other = small_run("other", server={"optimizer": optimizer, "learning_rate": 0.1})
    _, proximal = small_run("proximal", training={"proximal_mu": 10.0})
    assert not same(weights(plain), weights(other))
    assert not same(weights(plain), weights(proximal))


@pytest.mark.slow
def test_fedprox_holds_members_near_the_shared_model(small_run):
    moved = []
    for mu in (0.0, 50.0):
        training = {"optimizer": "sgd", "learning_rate": 0.01, "proximal_mu": mu}
        _, trained = small_run(f"trained-{mu}", rounds=1, training=training)
        still = training | {"learning_rate": 1e-12}
        _, start = small_run(f"start-{mu}", rounds=1, training=still)
        ends = weights(trained), weights(start)
        flat = [np.concatenate([w.ravel() for w in end.values()]) for end in ends]
        moved.append(np.linalg.norm(flat[0] - flat[1]))
    assert moved[1] < 0.5 * moved[0]
