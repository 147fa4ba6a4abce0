import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.data import TutorialSettings
from securefl.config.load import default_config, merge, validate
from securefl.data.sources.synthetic.source import load as tutorial
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError, DataError
from securefl.ml.batches import all_units
from securefl.ml.metrics.sums import total
from securefl.ml.sgd import LocalTrainer
from securefl.tasks.demand.task import DemandTask
from securefl.tasks.demand.windows import time_cuts

WEEKS = 30
MONDAYS = np.datetime64("2024-01-01") + np.arange(WEEKS) * np.timedelta64(7, "D")


def shop(name, units):
    """A retailer whose product p sells units[p, week], all on Mondays."""
    product, week = np.nonzero(units)
    frame = pd.DataFrame(
        {
            "customer": 1,
            "product": product,
            "basket": 1,
            "time": MONDAYS[week].astype("datetime64[ns]"),
            "quantity": units[product, week].astype(np.float64),
            "value": 1.0,
            "discount": 0.0,
        }
    )
    last = frame.iloc[-1:].assign(time=MONDAYS[-1] + np.timedelta64(6, "D"), quantity=1e-9)
    return RetailerTables(name, pd.concat([frame, last], ignore_index=True))


def consortium(seed=0, scale=(1, 6)):
    """Retailers of different size whose mailers double the sales of a product."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(40, 200, (12, 1))
    members, planned = [], []
    for number, size in enumerate(scale):
        mailer = rng.random((12, WEEKS)) < 0.25
        units = rng.poisson(base * size * np.where(mailer, 2.0, 1.0))
        members.append(shop(f"r{number}", units))
        product, week = np.nonzero(mailer)
        frame = pd.DataFrame({"product": product, "week": MONDAYS[week].astype("datetime64[ns]")})
        planned.append(frame.assign(member=f"r{number}", display=False, mailer=True))
    categories = [f"category {p:02d}" for p in range(12)]
    catalogue = pd.DataFrame({"product": range(12), "category": categories})
    return RetailData("made", tuple(members), catalogue, pd.concat(planned, ignore_index=True))


def configured(source="complete-journey", **over):
    tree = default_config("demand", source)
    if "model" in over:
        tree.pop("model")
    return validate(merge(tree, over), "test")


def prepared(config, data):
    task = DemandTask(config)
    facts = task.agree(data)
    return task, facts, [task.prepare(tables, facts) for tables in data.members]


def errors(task, model, members, split):
    model.eval()
    with torch.no_grad():
        tallies = [t for m in members for t in task.evaluate(model, m, split).values()]
    return total(tallies).values()


def naive_errors(task, members, split):
    return total(t for m in members for t in task.baseline(m, split).values()).values()


def trained(task, facts, members, epochs):
    torch.manual_seed(0)
    settings = task.config.training.model_copy(update={"local_epochs": epochs})
    model = task.model(facts, 0)
    pooled = task.pool(members, facts)
    LocalTrainer(model, pooled.examples, task.loss, settings, torch.device("cpu")).train(seed=1)
    return model


def test_the_last_steps_are_held_out_and_no_step_is_in_two_splits():
    cuts = time_cuts(first=8, steps=45, validation=5, test=6)
    assert cuts == {"train": range(8, 34), "validation": range(34, 39), "test": range(39, 45)}


def test_members_train_on_their_own_series_before_validation():
    task, _, members = prepared(configured(demand={"min_mean": 100}), consortium())
    for member in members:
        cases = member.cases[member.name]
        assert len(cases["test"].demand) % task.split.test_steps == 0
        assert member.samples == len(member.examples)
    small, large = members
    assert 0 < len(small.cases["r0"]["test"].demand) < len(large.cases["r1"]["test"].demand)
    steps = WEEKS - task.split.test_steps - task.split.validation_steps - task.cadence.warmup
    assert large.samples == 12 * steps


def test_nothing_that_is_held_out_reaches_training_or_the_choice_of_series():
    data = consortium()
    task, facts, before = prepared(configured(), data)
    held_out = MONDAYS[WEEKS - task.split.test_steps - task.split.validation_steps]
    for tables in data.members:
        lines = tables.transactions
        future = lines["time"] >= held_out
        lines.loc[future, "quantity"] = lines.loc[future, "quantity"] * 50
    after = [task.prepare(tables, facts) for tables in data.members]
    for a, b in zip(before, after, strict=True):
        pairs = zip(all_units(a.examples), all_units(b.examples), strict=True)
        assert all(torch.equal(x, y) for x, y in pairs)
        assert len(a.cases[a.name]["test"].demand) == len(b.cases[b.name]["test"].demand)
        assert not torch.equal(a.cases[a.name]["test"].demand, b.cases[b.name]["test"].demand)


def test_held_out_demand_is_what_was_sold():
    data = consortium()
    task, facts, members = prepared(configured(demand={"min_mean": 0}), data)
    lines = data.members[0].transactions
    week = (lines["time"].to_numpy().astype("datetime64[D]") - MONDAYS[0]).astype(int) // 7
    own = lines[(lines["product"] == 3) & (week >= WEEKS - 6)]
    sold = own.groupby(week[own.index])["quantity"].sum().round().tolist()
    cases = members[0].cases["r0"]["test"]
    series = facts.words.keys.index("category 03")
    assert cases.demand[cases.batch[1] == series].round().tolist() == sold
    assert task.split.test_steps == 6


def test_pooling_keeps_every_row_and_scores_each_retailer():
    task, facts, members = prepared(configured(), consortium())
    pooled = task.pool(members, facts)
    assert pooled.samples == sum(m.samples for m in members)
    model = task.model(facts, 0).eval()
    scores = task.evaluate(model, pooled, "test")
    assert {name: t.values() for name, t in scores.items()} == {
        m.name: task.evaluate(model, m, "test")[m.name].values() for m in members
    }


def test_a_retailer_too_small_to_be_evaluated_still_trains():
    task, facts, members = prepared(
        configured(demand={"min_mean": 250, "min_training_mean": 20}), consortium()
    )
    assert members[0].samples > 0
    assert len(members[0].cases["r0"]["test"].demand) == 0
    assert naive_errors(task, members, "test")["mape"] > 0
    assert errors(task, task.model(facts, 0), members, "test")["mape"] > 0


def test_a_retailer_without_any_series_is_named():
    with pytest.raises(DataError, match=r"^r0: no category sells 5000 units a week"):
        prepared(configured(demand={"min_mean": 9000, "min_training_mean": 5000}), consortium())


def test_too_few_weeks_are_refused_with_the_number_needed():
    data = consortium()
    with pytest.raises(DataError, match="30 complete weeks, but 34 needed"):
        prepared(configured(demand={"test_steps": 20}), data)


def test_a_model_of_another_task_is_refused():
    with pytest.raises(ConfigError, match="unknown value 'mf'; known: forecaster"):
        configured(model={"name": "mf"})


def test_naive_is_the_moving_average_that_was_best_before_the_test():
    task, _, members = prepared(configured(), consortium())
    cases = members[0].cases["r0"]
    demand = torch.cat([cases[s].demand for s in ("train", "validation")])
    past = torch.cat([cases[s].baseline for s in ("train", "validation")], dim=1)
    best = ((past - demand).abs() / demand).mean(dim=1).argmin()
    expected = (
        (cases["test"].baseline[best] - cases["test"].demand).abs() / cases["test"].demand
    ).mean()
    found = task.baseline(members[0], "test")["r0"].values()["mape"]
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_planned_promotions_are_learned_and_beat_the_moving_average():
    data = consortium()
    task, facts, members = prepared(configured(), data)
    model = trained(task, facts, members, epochs=15)
    learned = errors(task, model, members, "test")["mape"]
    assert learned < 0.6 * naive_errors(task, members, "test")["mape"]
    blind = dataclasses.replace(data, promotions=None)
    task, facts, members = prepared(configured(), blind)
    model = trained(task, facts, members, epochs=15)
    assert errors(task, model, members, "test")["mape"] > 1.5 * learned


def test_the_default_reaches_the_tutorials_target_on_its_data():
    data = tutorial(TutorialSettings(table="demand", retailers=2, products=30))
    task, facts, members = prepared(configured("tutorial"), data)
    model = trained(task, facts, members, epochs=3)
    assert errors(task, model, members, "test")["mape"] < 0.12


def test_the_tutorials_own_network_misses_it_by_far():
    data = tutorial(TutorialSettings(table="demand", retailers=2, products=30))
    task, facts, members = prepared(
        configured("tutorial", model={"name": "tutorial-forecaster"}), data
    )
    model = trained(task, facts, members, epochs=3)
    assert all_units(members[0].examples)[0].shape[1] == 7
    assert errors(task, model, members, "test")["mape"] > 0.4
