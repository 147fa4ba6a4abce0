"""Retailers with a part of their data: benchmarks/joining_by_size.py and what it stands on."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import prepare_data
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums, Ratio
from support.paths import ROOT


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module


class Party:
    """Each round of training adds 1 to the one weight; its error is how far that is from 2."""

    data = SimpleNamespace(samples=1)

    def fresh_model(self, _purpose):
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        return model

    def trainer(self, model, _settings):
        return SimpleNamespace(train=lambda *_: model.weight.data.add_(1.0))

    def seed(self, *_purpose):
        return 0

    def units(self, _number):
        return None

    def score(self, model, _split):
        return {"a": MetricSums({"error": Ratio(abs(model.weight.item() - 2.0), 1.0)})}


@pytest.mark.parametrize(("higher", "patience", "best"), [(False, None, 2), (True, 2, 1)])
def test_the_best_round_is_best_by_the_direction_of_the_metric(scripts, higher, patience, best):
    task = SimpleNamespace(metrics=[MetricSpec("error", higher_is_better=higher)])
    rounds_of = scripts("tuning_recommendation").rounds_of
    start, config = np.zeros(1, dtype=np.float32), SimpleNamespace(training=None)
    models, found = rounds_of(config, task, [Party()], start, 3, patience=patience)
    assert (found, models[0].weight.item()) == (best, best)


def test_a_gain_has_the_standard_error_of_paired_cases(scripts):
    gained = scripts("joining_by_size").gained
    alone = torch.tensor([1.0, 2.0, 6.0]).double()
    parts = torch.stack([alone, alone - 1.0, torch.ones(3).double()], dim=1)
    assert gained(parts, higher=False) == {
        "cases": 3,
        "alone": 3.0,
        "federated": 2.0,
        "gained": 1.0,
        "gained se": 0.0,
    }
    assert gained(parts, higher=True)["gained"] == -1.0


@pytest.fixture(scope="module")
def purchases():
    """A small run of `ease` and its tables."""
    data = {"source": "tutorial", "table": "purchases", "customers": 30, "items": 60}
    options = {"task": "recommendation", "model": {"name": "ease"}, "data": data}
    cuts = {"min_households": 2, "min_products": 5}
    config = load_config(options=options | {"recommendation": cuts})
    tables = load(config.data)
    return prepare_data(config, tables), tables


def test_cuts_of_a_retailer_have_the_same_held_out_cases_and_train_on_none(scripts, purchases):
    module = scripts("retailer_cuts")
    cut, name = module.RankingCuts(*purchases, 0), purchases[1].members[0].name
    every = [
        cut.member(module.Left(units, weeks), 0) for units in (None, 8) for weeks in (None, 12)
    ]
    whole = every[0].cases[name]["test"]
    for member in every[1:]:
        test = member.cases[name]["test"]
        assert torch.equal(test.ranking.positive, whole.ranking.positive)
        assert torch.equal(test.ranking.negatives, whole.ranking.negatives)
        assert test.known.sizes().sum() <= whole.known.sizes().sum()
        trained = member.examples.histories
        for row, customer in enumerate(member.ids):
            case = np.flatnonzero(every[0].ids[whole.customers] == customer)
            bought = trained.items[trained.start[row] : trained.start[row + 1]]
            assert not np.isin(whole.ranking.positive[case], bought).any()
    assert every[2].customers == 8
