import numpy as np
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.errors import ConfigError
from securefl.ml.metrics.sums import total
from securefl.ml.sgd import LocalTrainer
from securefl.tasks.registry import create_task

TUTORIAL = {
    "task": "demand",
    "data": {"source": "tutorial", "table": "demand", "products": 8, "days": 200},
    "model": {"name": "quantile-forecaster"},
}
PRIVATE = {
    "task": "demand",
    "rounds": 2,
    "model": {"name": "quantile-forecaster"},
    "demand": {
        "step": "day",
        "min_mean": 0.5,
        "min_training_mean": 0.2,
        "validation_steps": 6,
        "test_steps": 6,
    },
    "training": {"batch_size": 64, "local_epochs": 1},
    "privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-4, "clip_norm": 3.0},
}


def prepared(tree):
    config = load_config(None, tree)
    task, data = create_task(config), load(config.data)
    facts = task.agree(data)
    return task, facts, [task.prepare(tables, facts) for tables in data.members]


def overall(tallies):
    return total(tally for found in tallies for tally in found.values()).values()


def test_training_beats_moving_averages_with_past_errors():
    task, facts, members = prepared(TUTORIAL)
    torch.manual_seed(0)
    model, pooled = task.model(facts, 0), task.pool(members, facts)
    settings = task.config.training.model_copy(update={"local_epochs": 4})
    LocalTrainer(model, pooled.examples, task.loss, settings, torch.device("cpu")).train(seed=1)
    model.eval()
    with torch.no_grad():
        found = overall(task.evaluate(model, member, "test") for member in members)
    baseline = overall(task.baseline(member, "test") for member in members)
    assert found["pinball"] < 0.95 * baseline["pinball"]


def test_the_naive_quantiles_are_those_of_past_errors_and_see_nothing_later():
    task, _, members = prepared(TUTORIAL)
    cases = members[0].cases[members[0].name]
    past = (cases["train"], cases["validation"])
    before = task.averaged(0, past, cases["test"])
    ratios = torch.cat([torch.log1p(c.demand) - torch.log1p(c.baseline[0]) for c in past]).numpy()
    expected = np.quantile(ratios, task.levels)
    shown = torch.log1p(before) - torch.log1p(cases["test"].baseline[0]).unsqueeze(1)
    assert np.allclose(shown.numpy(), expected, atol=1e-3)
    cases["test"].demand.mul_(7)
    assert torch.equal(before, task.averaged(0, past, cases["test"]))


def test_levels_ascend_and_hold_the_median():
    for levels in ([0.5, 0.1], [0.1, 0.9], [0.1, 0.5, 1.0]):
        with pytest.raises(ConfigError, match=r"model\.(quantile-forecaster\.)?levels"):
            load_config(None, merge(TUTORIAL, {"model": {"levels": levels}}))


def test_what_is_served_privately_is_a_mean_of_quantiles_that_do_not_cross(purchases):
    task, facts, members = prepared(merge({**purchases}, PRIVATE))
    torch.manual_seed(0)
    model, member = task.model(facts, 0).eval(), members[0]
    with torch.no_grad():
        assert (task.coming(model, member).diff(dim=1) >= 0).all()
        served, own = (
            overall([scored(member, "validation")])["pinball"]
            for scored in (lambda m, s: task.evaluate(model, m, s), task.evaluate_local)
        )
    assert served <= own + 1e-9
