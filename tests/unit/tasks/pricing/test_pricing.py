"""Elasticities from planted ones, what each customer adds to them, and the prices that follow."""

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.data.tables import RetailerTables
from securefl.errors import ConfigError, DataError
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.ml.metrics.sums import total
from securefl.tasks.pricing.elasticities import SufficientStatistics, estimated
from securefl.tasks.pricing.price_list import Lines, price_list
from securefl.tasks.pricing.price_optimization import Product, advice_row, price_range, recommended
from securefl.tasks.pricing.settings import PricingSettings
from securefl.tasks.pricing.sufficient_statistics import bounded, customer_statistics
from securefl.tasks.registry import create_task
from support.planted_prices import SUPPLIED, TRUE, planted_prices


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return planted_prices(tmp_path_factory.mktemp("prices"))


def prepared(tree, **changes):
    config = load_config(None, merge(tree, changes))
    task, data = create_task(config), load(config.data)
    facts = task.agree(data)
    return task, facts, data, [task.prepare(tables, facts) for tables in data.members]


def parts(task, facts, tables):
    lines = Lines.of(tables, facts.weeks)
    training = len(facts.weeks) - 11
    prices = price_list(lines, facts.words, len(facts.weeks), training, task.split)
    return lines, prices, training


def chosen(lines, kept):
    return Lines(**{name: column[kept] for name, column in vars(lines).items()})


def test_planted_elasticities_are_found_and_together_more_exactly_than_alone(planted):
    task, facts, _, members = prepared(planted)
    together = task.local_elasticities(task.pool(members, facts))
    alone = [task.local_elasticities(member) for member in members]
    keys = [facts.words.keys.index(name) for name in TRUE]
    truth = np.array([*TRUE.values()])
    assert (np.abs(together.value[keys] - truth) < 3 * together.error[keys]).all()
    assert (np.abs(together.value[keys] - truth) < 0.25).all()
    for own in alone:
        assert (together.error[keys] < 0.8 * own.error[keys]).all()


def test_standard_errors_say_how_far_estimates_scatter(planted):
    task, facts, _, members = prepared(planted)
    keys = [facts.words.keys.index(name) for name in TRUE]
    found = [task.local_elasticities(member) for member in members]
    misses = np.array([(f.value[keys] - [*TRUE.values()]) / f.error[keys] for f in found])
    assert 0.3 < np.sqrt((misses**2).mean()) < 1.7


def test_prices_foretell_held_out_sales_better_than_ignoring_them(planted):
    task, facts, _, members = prepared(planted)
    pooled = task.pool(members, facts)
    own = total(task.evaluate_local(pooled, "test").values()).values()
    baseline = total(task.baseline(pooled, "test").values()).values()
    assert own["deviance"] < 0.95 * baseline["deviance"]
    assert own["units_wape"] < baseline["units_wape"]
    assert own["negative"] == 1.0
    assert np.isnan(baseline["standard_error"])


def test_a_customers_statistics_are_hers_alone(planted):
    task, facts, data, _ = prepared(planted)
    lines, prices, training = parts(task, facts, data.members[0])
    keys = len(facts.words.keys)
    everybody = customer_statistics(lines, prices, training, keys, -1.5)
    for who in (0, 7):
        alone = customer_statistics(
            chosen(lines, lines.customer == who), prices, training, keys, -1.5
        )
        row = np.unique(lines.customer[lines.week < training]).tolist().index(who)
        for mine, all_of_them in zip(alone, everybody, strict=True):
            assert np.allclose(mine[0], all_of_them[row])


def test_one_customer_moves_the_sums_by_the_bound_and_no_more(planted):
    task, facts, data, _ = prepared(planted)
    lines, prices, training = parts(task, facts, data.members[0])
    found = customer_statistics(lines, prices, training, len(facts.words.keys), -1.5)
    assert np.linalg.norm(np.concatenate(found, axis=1), axis=1).max() > 3.0
    norms = np.linalg.norm(bounded(*found, 3.0), axis=1)
    assert norms.max() <= 3.1  # the packaged clip norm: nothing more is cut
    assert norms.max() > 3.0 - 1e-9
    assert (
        load_config(
            None, {"task": "pricing", "privacy": {"dp": "local", "epsilon": 1.0}}
        ).privacy.clip_norm
        == 3.1
    )


def test_score_and_information_are_those_of_the_conditional_likelihood(planted):
    task, facts, data, _ = prepared(planted)
    lines, prices, training = parts(task, facts, data.members[0])
    lines = chosen(lines, (lines.customer == 3) & (lines.product == 4))
    keys, step = len(facts.words.keys), 1e-4
    score, information = customer_statistics(lines, prices, training, keys, -1.5)
    early = lines.week < training
    visits = np.bincount(
        np.unique(np.stack([lines.week[early], lines.basket[early]]), axis=1)[0],
        minlength=training,
    )
    row = prices.relative[prices.rows(np.array([4]))[0], :training]

    def likelihood(elasticity):
        weights = visits * np.exp(elasticity * row)
        return sum(
            units * np.log(weights[week] / weights.sum())
            for week, units in zip(lines.week[early], lines.units[early], strict=True)
        )

    low, middle, high = (likelihood(-1.5 + change) for change in (-step, 0, step))
    assert score.sum() == pytest.approx((high - low) / (2 * step), rel=1e-4)
    assert information.sum() == pytest.approx(-(high - 2 * middle + low) / step**2, rel=1e-3)


def test_nothing_that_is_held_out_reaches_statistics_or_the_usual_prices(planted):
    task, facts, data, members = prepared(planted)
    tables = data.members[0]
    lines = tables.transactions.astype({"quantity": float})
    later = lines["time"] >= pd.Timestamp(facts.weeks[-11])
    lines.loc[later, ["quantity", "value"]] = lines.loc[later, ["quantity", "value"]] * [5, 50]
    after = task.prepare(RetailerTables(tables.name, lines), facts)
    assert np.array_equal(members[0].sums, after.sums)
    before = members[0].prices[tables.name]
    assert np.array_equal(before.usual, after.prices[tables.name].usual)


def test_noise_is_in_the_standard_errors():
    rng = np.random.default_rng(0)
    keys, influence, deviation = 400, 3.0, 12.0
    information = rng.uniform(60, 200, keys)
    truth = rng.normal(-1.6, 0.4, keys)
    score = information * (truth + 1.5) + rng.normal(0, np.sqrt(information))
    exact = np.concatenate([score, information, [information.sum() / (4 * influence)]])
    noised = exact + deviation * rng.normal(size=exact.size)
    plain = estimated(SufficientStatistics(exact, influence, -1.5))
    private = estimated(SufficientStatistics(noised, influence, -1.5, deviation))
    ignored = estimated(SufficientStatistics(noised, influence, -1.5))
    assert plain.error.mean() < private.error.mean()
    for found, fits in ((plain, True), (private, True), (ignored, False)):
        scatter = np.sqrt((((found.value - truth) / found.error) ** 2).mean())
        assert (abs(scatter - 1) < 0.15) == fits


def test_a_category_lost_in_the_noise_takes_the_common_elasticity():
    sums = np.array([3.0, -5.0, 0.4, 50.0, 40.0, 1.0, 10.0])
    found = estimated(SufficientStatistics(sums, 3.0, -1.5, 2.0))
    assert found.own.tolist() == [True, True, False]
    assert found.value[2] == pytest.approx(found.common)
    assert found.error[2] >= found.error[:2].max()


def test_a_price_cannot_be_told_who_is_buying():
    assert {field.name for field in dataclasses.fields(Product)} == {
        "price",
        "cost",
        "units",
        "elasticity",
        "error",
    }
    for function in (recommended, advice_row, price_range):
        assert [*inspect.signature(function).parameters] == ["product", "settings"]


def product(elasticity=-3.0, error=0.01, price=1.0, cost=0.6):
    return Product(price, cost, 100.0, elasticity, error)


def test_an_unlimited_price_is_the_one_that_economics_knows():
    free = PricingSettings(max_change=0.9, min_margin=0.0)
    # Amoroso and Robinson: the best price is cost e / (1 + e).
    assert recommended(product(), free) == pytest.approx(0.6 * 3 / 2, rel=5e-3)
    assert recommended(product(cost=0.8), free) == pytest.approx(0.8 * 3 / 2, rel=5e-3)


def test_a_price_keeps_to_its_limits():
    limits = PricingSettings()
    assert recommended(product(cost=0.8), limits) == pytest.approx(1.1, rel=1e-3)
    assert recommended(product(-9.0, cost=0.4), limits) == pytest.approx(0.9, rel=1e-3)
    assert recommended(product(-9.0, cost=0.9), limits) >= 0.9 * 1.05
    below = product(-9.0, price=1.0, cost=1.2)
    assert price_range(below, limits)[0] == 1.0


def test_a_price_stays_where_the_interval_does_not_agree():
    assert recommended(product(-2.5, error=1.5), PricingSettings()) == 1.0
    row = advice_row(product(-2.5, error=1.5), PricingSettings())
    assert row["change_percent"] == 0.0
    assert row["margin_change_low"] == row["margin_change_high"] == 0.0


def test_facts_hold_no_price_and_survive_their_file(planted, tmp_path):
    config = load_config(None, planted)
    made = make_facts(config, tmp_path / "agreed.facts")
    read = open_facts(tmp_path / "agreed.facts")
    assert read.digest == made.digest
    assert [field.name for field in dataclasses.fields(read.content)] == [
        "weeks",
        "words",
        "members",
    ]
    assert np.array_equal(read.content.weeks, made.content.weeks)


def test_pricing_under_a_budget_needs_public_prices(planted):
    """A median of receipts is another price without one customer, whom a budget has to hide."""
    with pytest.raises(ConfigError, match=r"own price lists \(data.prices\)"):
        prepared(planted, privacy={"dp": "local", "epsilon": 8.0})
    task = create_task(
        load_config(None, merge(planted, {"privacy": {"dp": "local", "epsilon": 8}}))
    )
    _, facts, data, _ = prepared(planted)
    with pytest.raises(ConfigError, match="depend on the customers"):
        task.prepare(data.members[0], facts)


def test_supplied_prices_survive_the_file_of_facts(planted, tmp_path):
    made = make_facts(load_config(None, merge(planted, SUPPLIED)), tmp_path / "agreed.facts")
    read = open_facts(tmp_path / "agreed.facts").content.prices
    assert len(read) == 4 * 12 * 40
    assert (read["price"].to_numpy() == made.content.prices["price"].to_numpy()).all()


def test_supplied_prices_do_not_depend_on_receipts(planted):
    task, facts, data, members = prepared(merge(planted, SUPPLIED))
    tables = data.members[0]
    few = RetailerTables("north", tables.transactions[tables.transactions["customer"] == 3])
    whole, own = members[0].prices["north"], task.prepare(few, facts).prices["north"]
    assert np.array_equal(own.paid, whole.paid)
    assert len(own.products) == 12


def test_wrong_data_are_one_clear_line(planted):
    task, facts, data, _ = prepared(planted)
    tables = data.members[0]
    nobody = RetailerTables("north", tables.transactions.assign(customer=-1))
    with pytest.raises(DataError, match="no purchase of a known customer"):
        task.prepare(nobody, facts)
    strange = RetailerTables("north", tables.transactions.assign(product=-1))
    with pytest.raises(DataError, match="north: no purchase"):
        task.prepare(strange, facts)
    with pytest.raises(DataError, match="but 60 needed"):
        prepared(planted, pricing={"test_steps": 53})


def test_a_units_gradient_is_minus_its_statistics(planted):
    private = merge(planted, SUPPLIED)
    task, facts, _, members = prepared(private, privacy={"dp": "local", "epsilon": 8.0})
    model = task.model(facts, 0)
    index = torch.tensor([3, 11])
    task.loss(model, members[0].examples.batch(index)).sum().backward()
    statistics = members[0].examples.batch(index)[0]
    assert torch.allclose(model.sums.weight.grad[0], -statistics.sum(dim=0))
