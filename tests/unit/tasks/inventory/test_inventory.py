import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.errors import ConfigError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.ml.batches import all_units
from securefl.ml.metrics.sums import total
from securefl.tasks.demand.windows import ahead
from securefl.tasks.registry import create_task

DAILY = {
    "task": "inventory",
    "rounds": 2,
    "model": {"name": "quantile-forecaster"},
    "inventory": {
        "step": "day",
        "min_mean": 0.5,
        "min_training_mean": 0.2,
        "validation_steps": 6,
        "test_steps": 6,
        "order_cost": 2.0,
    },
    "training": {"batch_size": 64, "local_epochs": 1},
}


@pytest.fixture
def prepared(purchases):
    def make(**changes):
        config = load_config(None, merge({**purchases}, merge(DAILY, changes)))
        task, data = create_task(config), load(config.data)
        facts = task.agree(data)
        return task, facts, data

    return make


def test_costs_that_ask_for_an_unknown_quantile_are_one_clear_line(prepared):
    with pytest.raises(ConfigError, match=r"ask for the 0\.990 quantile"):
        prepared(inventory={"shortage_cost": 99.0})


def test_demand_ahead_is_a_mean_over_the_horizon():
    demand = np.array([[1.0, 3.0, 5.0, 9.0]])
    assert ahead(demand, 1).tolist() == demand.tolist()
    assert ahead(demand, 2).tolist() == [[2, 4, 7, 9]]


@pytest.mark.parametrize("policy", ["newsvendor", "reorder"])
def test_no_row_and_no_order_looks_at_what_is_sold_later(prepared, policy):
    task, facts, data = prepared(inventory={"policy": policy, "lead_time": 2})
    tables, steps = data.members[0], len(facts.steps)
    before = task.prepare(tables, facts)
    torch.manual_seed(0)
    model = task.model(facts, 0).eval()
    cases = before.cases[tables.name]["test"]
    levels = task.order_levels(task.forecast(model, cases), cases.sold.shape).order_up_to
    held_out = pd.Timestamp(facts.steps[steps - 12])
    last_but_one = pd.Timestamp(facts.steps[steps - 2])
    for first, rows in ((held_out, True), (last_but_one, False)):
        lines = tables.transactions.copy()
        later = lines["time"] >= first
        lines.loc[later, "quantity"] = lines.loc[later, "quantity"] * 9
        after = task.prepare(type(tables)(tables.name, lines), facts)
        if rows:
            pairs = zip(all_units(before.examples), all_units(after.examples), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)
    other = after.cases[tables.name]["test"]
    changed = task.order_levels(task.forecast(model, other), other.sold.shape).order_up_to
    assert np.array_equal(levels[:, :-1], changed[:, :-1])
    assert not np.array_equal(cases.sold[:, -2:], other.sold[:, -2:])


def test_the_naive_safety_stock_is_z_times_the_past_error(prepared):
    task, facts, data = prepared()
    member = task.prepare(data.members[0], facts)
    cases = member.cases[member.name]
    past = (cases["train"], cases["validation"])
    quantiles = task.averaged(2, past, cases["test"]).numpy()
    series = cases["test"].sold.shape[0]
    misses = np.concatenate(
        [(c.demand - c.baseline[2]).numpy().reshape(series, -1)[:, -c.counted :] for c in past],
        axis=1,
    )
    error = np.sqrt(np.mean(misses**2, axis=1)).repeat(cases["test"].sold.shape[1])
    z = 1.2815516
    expected = np.maximum(cases["test"].baseline[2].numpy() + z * error, 0)
    assert np.allclose(quantiles[:, task.levels.index(0.9)], expected, rtol=1e-4)


def test_a_run_ends_with_levels_that_stay_in_each_retailers_folder(purchases, tmp_path):
    tree = merge({**purchases}, merge(DAILY, {"references": {"enabled": True}}))
    config = load_config(None, tree)
    result = run(RunDirectory.create(tmp_path / "run", config))
    assert set(result.metrics) == {"federated", "alone", "pooled", "naive"}
    assert 0 < result.metrics["federated"]["fill_rate"] <= 1
    for member in result.members:
        table = pd.read_csv(tmp_path / "run" / "members" / member.name / "order-levels.csv")
        assert (table["order_up_to"] > 0).all()
        assert table["category"].is_unique
    assert not list((tmp_path / "run").glob("*.csv"))


def test_facts_are_those_of_demand_and_survive_their_file(prepared, tmp_path):
    task, facts, _ = prepared()
    made = make_facts(task.config, tmp_path / "agreed.facts")
    read = open_facts(tmp_path / "agreed.facts")
    assert read.digest == made.digest
    assert np.array_equal(read.content.steps, facts.steps)
    assert read.content.words.keys == facts.words.keys


def test_a_private_run_serves_no_dearer_stock_than_alone_on_validation(prepared):
    task, facts, data = prepared(
        privacy={"dp": "local", "epsilon": 4.0, "delta": 1e-4, "clip_norm": 3.0}
    )
    member = task.prepare(data.members[0], facts)
    torch.manual_seed(0)
    model = task.model(facts, 0).eval()
    with torch.no_grad():
        served, own = (
            total(found(member, "validation").values()).values()["stock_cost"]
            for found in (lambda m, s: task.evaluate(model, m, s), task.evaluate_local)
        )
    assert served <= own + 1e-9
