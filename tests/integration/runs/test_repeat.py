import math
import statistics

import pytest

from securefl.errors import InputError, RunDirectoryError
from securefl.federation.runs.repeat import (
    RepeatDirectory,
    resume,
    run_repeated,
    sample_deviation,
    summarise_runs,
)


def test_mean_and_spread_are_over_the_seeds(tmp_path, small_config):
    directory = RepeatDirectory.create(tmp_path / "r", small_config(rounds=1, seed=5), 3)
    result = run_repeated(directory)
    assert [run.seed for run in result.runs] == [5, 6, 7]
    values = [run.metrics["federated"]["mape"] for run in result.runs]
    assert len(set(values)) == 3
    assert result.metrics["federated"]["mape"] == pytest.approx(statistics.fmean(values))
    assert result.spread["federated"]["mape"] == pytest.approx(statistics.stdev(values))
    first = [run.members[0].metrics["federated"]["mape"] for run in result.runs]
    mean = result.members[0].metrics["federated"]["mape"]
    assert mean == pytest.approx(statistics.fmean(first))


@pytest.mark.slow
def test_what_has_ended_is_not_run_again(tmp_path, small_config, monkeypatch):
    directory = RepeatDirectory.create(tmp_path / "r", small_config(rounds=1), 2)
    result = run_repeated(directory)
    monkeypatch.setattr("securefl.federation.runs.run.prepare", None)
    assert resume(tmp_path / "r") == result


def test_the_spread_of_one_run_is_unknown():
    assert math.isnan(sample_deviation([1.0]))
    assert math.isnan(sample_deviation([1.0, math.nan]))


def test_json_has_null_where_there_is_no_number(small_run, tmp_path):
    result, _ = small_run(rounds=1)
    assert summarise_runs([result], tmp_path).to_json()["spread"]["federated"]["mape"] is None


def test_a_repeated_run_is_not_begun_over_something(tmp_path, small_config):
    RepeatDirectory.create(tmp_path / "r", small_config(), 2)
    with pytest.raises(RunDirectoryError, match="--resume"):
        RepeatDirectory.create(tmp_path / "r", small_config(), 2)


def test_nothing_to_repeat(tmp_path, small_config):
    with pytest.raises(InputError, match="0 times"):
        RepeatDirectory.create(tmp_path / "r", small_config(), 0)
