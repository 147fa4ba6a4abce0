"""Every task states all metrics of its evaluations, so that members can sum them under masks."""

import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.federation.scores.exact import ExactLayout
from securefl.ml.metrics.sums import total
from securefl.tasks.common.learner import LocalProblem
from support.planted_prices import planted_prices
from support.small_runs import SMALL_DEMAND, SMALL_RATINGS
from support.task_configs import content_config, prepared, sequential_config, transfer_config

DAILY = {"step": "day", "level": "category", "min_mean": 0.5}
SPANS = {"validation_steps": 5, "test_steps": 5}


def without_cuts(purchases):
    return {name: part for name, part in purchases.items() if name != "recommendation"}


CONFIGS = {
    "ratings": lambda files: load_config(None, SMALL_RATINGS),
    "purchases": lambda files: load_config(None, files),
    "demand": lambda files: load_config(None, SMALL_DEMAND),
    "quantiles": lambda files: load_config(
        None, merge(dict(SMALL_DEMAND), {"model": {"name": "quantile-forecaster"}})
    ),
    "hybrid": content_config,
    "content": lambda files: content_config(files, "content"),
    "sequential": lambda files: sequential_config(files, {}),
    "transfer": transfer_config,
    "inventory": lambda files: load_config(
        None,
        {**without_cuts(files), "task": "inventory", "model": {}, "inventory": DAILY | SPANS},
    ),
    "churn": lambda files: load_config(
        None,
        {
            **without_cuts(files),
            "task": "churn",
            "model": {},
            "churn": {
                "horizon_weeks": 1,
                "history_weeks": 2,
                "step_weeks": 1,
                "active_weeks": 2,
                "training_cutoffs": 2,
                "min_baskets": 1,
            },
        },
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_all_metrics_have_a_place_in_the_sum(kind, purchases):
    """Evaluation and baseline have the stated metrics, equal denominators where stated so."""
    check_layout(CONFIGS[kind](purchases))


def test_metrics_of_prices_have_a_place_in_the_sum(tmp_path):
    """The same for elasticities, which need prices that vary."""
    check_layout(load_config(None, planted_prices(tmp_path)))


def check_layout(config):
    task, facts, members = prepared(config)
    layout = ExactLayout(task.scored_metrics)
    assert set(task.metrics) <= set(task.scored_metrics)
    evaluated, baseline = [], []
    for member in members:
        problem = LocalProblem(config, task, facts, member)
        evaluated += problem.score(problem.fresh_model("init"), "test").values()
        with torch.no_grad():
            baseline += task.baseline(member, "test").values()
    for sums in (evaluated, baseline):
        summed = sum(layout.integers(one) for one in sums)
        found, plain = layout.metric_sums(summed), total(sums)
        assert found.ratios.keys() == plain.ratios.keys()
        assert {n: repr(r) for n, r in found.ratios.items()} == {
            n: repr(r) for n, r in plain.ratios.items()
        }
