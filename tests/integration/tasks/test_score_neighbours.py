"""For every model that releases scores: one customer moves the integers by the bound, no other's.

Neighbours differ in one customer of one retailer, adversarial ones among them. The shared model and
the facts are agreed, and so the same for both.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.config.task_registry import TASKS, declaration
from securefl.data.sources.registry import load
from securefl.federation.scores.bounded import STEPS, bounded_integers, sensitivity
from securefl.privacy.score_plan import score_table
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.registry import create_task
from support.small_runs import SMALL_RATINGS

DP = {"dp": "local", "epsilon": 4.0}
MODELS = [
    (name, model.name, unit)
    for name in TASKS
    for model in declaration(name).models
    for unit in model.scores
]


def config_of(purchases, task, model, unit):
    base = dict(purchases)
    if model == "rating-ncf":
        base = merge(dict(SMALL_RATINGS), {"data": {"interactions": [100, 140]}})
    if task == "sequential":
        split = base.pop("recommendation")
        base["sequential"] = split
    if task == "churn":
        base.pop("recommendation")
        base["churn"] = {
            "horizon_weeks": 1,
            "history_weeks": 2,
            "step_weeks": 1,
            "active_weeks": 2,
            "training_cutoffs": 2,
            "min_baskets": 1,
        }
    if model != "rating-ncf":
        base["model"] = {"name": model}
    return load_config(
        None, merge(base, {"task": task, "privacy": {**DP, "unit": unit}, "rounds": 2})
    )


def adversaries(tables):
    """Customers that buy everything, some of it as the only buyer, and that flood."""
    lines = tables.transactions
    everything = lines.drop_duplicates("product").assign(quantity=1e300, value=1e300)
    some = lines[lines["customer"] == lines["customer"].iloc[0]]
    flood = pd.concat([some] * 20, ignore_index=True)
    flood = flood.assign(basket=np.arange(len(flood)) + 10**9)
    top = int(lines["customer"].max())
    yield "everything", everything.assign(customer=top + 1)
    yield "flood", flood.assign(customer=top + 2)


class Scored:
    """The integers of one retailer's unit scores under one agreed model."""

    def __init__(self, config, data):
        self.config, self.task, self.table = config, create_task(config), score_table(config)
        self.facts = self.task.agree(data)

    def rows(self, tables):
        member = self.task.prepare(tables, self.facts)
        torch.manual_seed(11)
        model = LocalProblem(self.config, self.task, self.facts, member).fresh_model("init")
        shared = torch.Generator().manual_seed(3)
        local = getattr(model, "local_parameters", frozenset())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                # Rows of customers are the training's part; here no row tells customers apart.
                if name.split(".")[0] in local:
                    parameter.zero_()
                else:
                    parameter.copy_(torch.randn(parameter.shape, generator=shared))
            return self.task.unit_scores(model.eval(), member, "test")

    def integers(self, tables):
        return bounded_integers(self.table, self.rows(tables), 1 << 20)


@pytest.mark.parametrize(("task", "model", "unit"), MODELS)
def test_no_customer_moves_another(purchases, task, model, unit):
    """Without one customer, the integers lose that customer's row and nothing else changes."""
    config = config_of(purchases, task, model, unit)
    data = load(config.data)
    scored, tables = Scored(config, data), data.members[0]
    bound, lines = sensitivity(scored.table).l2, tables.transactions
    whole = scored.integers(tables)
    assert whole[-1] > 0, "nobody was scored"
    ids = sorted(set(lines["customer"]))
    for customer in (ids[0], ids[len(ids) // 2], ids[-1]):
        less = replace(tables, transactions=lines[lines["customer"] != customer])
        records = 1 if unit == "customer" else int((lines["customer"] == customer).sum())
        moved = whole - scored.integers(less)
        assert np.linalg.norm(moved) <= records * bound * (1 + 1e-12)
        assert (moved >= 0).all(), "another customer's part changed"
    for name, extra in adversaries(tables):
        more = replace(tables, transactions=pd.concat([lines, extra], ignore_index=True))
        records = 1 if unit == "customer" else len(extra)
        moved = scored.integers(more) - whole
        assert np.linalg.norm(moved) <= records * bound * (1 + 1e-12), name


@pytest.mark.parametrize(("task", "model", "unit"), MODELS)
def test_every_bounded_metric_is_computed(purchases, task, model, unit):
    """What the table names, the task computes, within the bounds' steps."""
    config = config_of(purchases, task, model, unit)
    data = load(config.data)
    scored = Scored(config, data)
    found = scored.rows(data.members[0])
    assert found.numerators.keys() >= scored.table.metrics.keys()
    assert found.counts.keys() == scored.table.counts.keys()
    assert np.abs(scored.integers(data.members[0])).max() <= found.units * STEPS
