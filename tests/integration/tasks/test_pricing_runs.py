"""Whole pricing runs in every mode, on planted elasticities."""

import pandas as pd
import pytest

from securefl.config.load import load_config, merge
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from support.planted_prices import SUPPLIED, planted_prices


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    planted = planted_prices(tmp_path_factory.mktemp("prices"))
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name, changes in {
        "plain": {"mode": "plain"},
        "secure": {"mode": "secure"},
        "local": SUPPLIED
        | {"privacy": {"dp": "local", "epsilon": 8.0}, "model": {"influence": 3.0}},
        "distributed": SUPPLIED
        | {
            "privacy": {"dp": "distributed", "epsilon": 8.0},
            "model": {"influence": 3.0},
        },
    }.items():
        config = load_config(None, merge(planted, changes))
        found[name] = (run(RunDirectory.create(folder / name, config)), folder / name)
    return found


def test_masks_add_up_exactly_and_the_sums_are_those_of_all_data_in_one_place(runs):
    plain, secure = (runs[name][0].metrics for name in ("plain", "secure"))
    for metric, value in plain["federated"].items():
        assert secure["federated"][metric] == pytest.approx(value, rel=1e-4)
    assert secure["pooled"]["standard_error"] < secure["alone"]["standard_error"]


def test_private_runs_keep_to_their_budget_and_beat_ignoring_prices(runs):
    for name in ("local", "distributed"):
        result = runs[name][0]
        assert 7.0 < result.privacy.largest_epsilon <= 8.0
        assert result.metrics["released"]["deviance"] < result.metrics["naive"]["deviance"]


def test_each_retailer_finds_one_price_a_product_in_its_own_folder_and_nobody_elses(runs):
    _, folder = runs["secure"]
    table = pd.read_csv(folder / "members" / "north" / "prices.csv")
    assert table["product"].is_unique
    assert (table["recommended"] <= 1.1 * table["price"] + 1e-3).all()
    assert not any("customer" in column for column in table.columns)
    assert (folder / "members" / "north" / "price-curves.csv").exists()
    assert not list(folder.glob("*.csv"))
    assert not (folder / "members" / "pooled" / "prices.csv").exists()
