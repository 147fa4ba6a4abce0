"""Whole private runs of the other tasks and models, and the words in which they say what holds."""

import pytest

from securefl.config.load import load_config, merge
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.federation.runs.summary import summarise
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.group_privacy import customer_epsilon

PRIVATE = {
    "mode": "plain",
    "rounds": 2,
    "privacy": {"dp": "local", "epsilon": 3.0, "delta": 1e-4, "expected_batch": 20.0},
}
DEMAND = {
    "task": "demand",
    "model": {"name": "forecaster"},
    "demand": {
        "step": "day",
        "min_mean": 0.5,
        "min_training_mean": 0.2,
        "validation_steps": 6,
        "test_steps": 6,
    },
    "privacy": {"clip_norm": 3.0, "records_per_customer": 2},
}


@pytest.fixture
def finished(tmp_path, small_config, purchases):
    def make(kind, **changes):
        tree = merge(PRIVATE, changes)
        if kind == "demand":
            config = load_config(None, merge({**purchases, "model": {}}, merge(DEMAND, tree)))
        else:
            config = small_config(kind, **tree)
        directory = RunDirectory.create(tmp_path / "run", config)
        return run(directory), directory

    return make


def test_single_ratings_can_be_hidden_and_a_customers_epsilon_stands_beside_it(finished):
    unit = {"unit": "record", "records_per_customer": 2, "sampling_rate": 0.1}
    result, directory = finished("ratings", privacy={**unit, "scores": 0.0})
    privacy = result.privacy
    assert (privacy.unit, privacy.protects, privacy.records_per_customer) == (
        *("record", "one rating"),
        2,
    )
    member = privacy.members[0]
    events = [SampledGaussian(member.noise_multiplier, 0.1, member.steps)]
    assert member.epsilon == pytest.approx(epsilon_of(events, 1e-4))
    assert member.customer_epsilon == pytest.approx(customer_epsilon(events, 1e-4, 2))
    assert member.customer_epsilon > member.epsilon
    assert directory.records()[-1].customer_epsilon == member.customer_epsilon
    said = summarise(result).protection
    assert "for every record of each retailer (one rating); for a whole customer, of whom 2" in said
    assert f"epsilon is {member.customer_epsilon:.3f}" in said
    assert directory.result().to_json() == result.to_json()


@pytest.mark.slow
def test_customers_of_ratings_can_be_hidden(finished):
    result, _ = finished("ratings", privacy={"unit": "customer", "sampling_rate": 0.5})
    member = result.privacy.members[0]
    assert member.customer_epsilon == member.epsilon <= 3.0
    assert "whole customer" not in summarise(result).protection


@pytest.mark.parametrize("unit", ["customer", pytest.param("record", marks=pytest.mark.slow)])
def test_demand_is_trained_on_series_that_hide_a_unit(finished, unit):
    result, _ = finished("demand", privacy={"unit": unit})
    assert set(result.metrics) == {"federated", "released", "naive"}
    assert "series" in result.privacy.mechanism
    for member in result.privacy.members:
        assert (member.sampling_rate, member.steps) == (1.0, 2)
        assert member.clip_norm == (3.0 if unit == "customer" else 4.0)
        event = SampledGaussian(member.noise_multiplier, 1.0, 2)
        assert member.epsilon == pytest.approx(epsilon_of([event], 1e-4))
        assert 2.9 < member.epsilon <= 3.0


@pytest.mark.slow
def test_a_resumed_demand_run_pays_for_nothing_twice(finished):
    whole, directory = finished("demand")
    (directory.path / "result.json").unlink()
    assert run(RunDirectory.open(directory.path)).privacy == whole.privacy


@pytest.mark.parametrize("model", ["mf", "ncf"])
def test_recommenders_with_customer_vectors_can_be_private(finished, model):
    result, _ = finished(
        "purchases", model={"name": model, "dim": 4}, privacy={"sampling_rate": 1.0}
    )
    assert {"federated", "released", "naive"} <= set(result.metrics)
    assert all(member.epsilon <= 3.0 for member in result.privacy.members)
