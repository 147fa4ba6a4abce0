"""What is predicted of the test cases has the figures of the closing table, for every task."""

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.task_registry import TASKS
from securefl.tasks.churn.examples import observation_dates
from securefl.tasks.content.cold_start import NEW_PRODUCTS
from securefl.tasks.content.settings import cold_metric
from support.carried import LISTS, OTHERS

FILES = ("pricing", "inventory", "transfer", "sequential")
LISTED = (*LISTS, "sequential", "transfer")
ALL = (*LISTS, *OTHERS, *FILES)


def test_every_task_is_held_here():
    """A task that is added is added to these tests."""
    assert set(TASKS) <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_figures_equal_the_closing_table(name, held):
    """To the last bit: in the folder, and computed again from the member's data."""
    found, wanted = held(name), held(name).closing()
    assert found.opened.evaluate() == pytest.approx(wanted, rel=0, abs=0, nan_ok=True)
    kept = {key: value for key, value in found.opened.metrics.items() if value is not None}
    assert kept == {key: value for key, value in wanted.items() if not np.isnan(value)}


def known_purchases(found, cases):
    """The purchases that are known before each test case, as a table with the member's labels."""
    member, known = found.problem.data, cases.known
    row = torch.arange(len(known)).repeat_interleave(known.start.diff()).numpy()
    basket = known.baskets.numpy()
    labels = found.opened.opened.vocabulary.label
    return pd.DataFrame(
        {
            "customer": member.ids[cases.customers.numpy()][row],
            "product": labels(found.prepared.facts.products[known.items.long().numpy()]),
            "time": pd.Timestamp("2026-01-05") + pd.to_timedelta(basket, unit="D"),
            "basket": basket,
        }
    )


def ranks(found, cases, listed):
    """How many competitors of each case are ranked at least as high, among drawn ones and all."""
    products, member = found.prepared.facts.products, found.problem.data
    labels = np.asarray(found.opened.opened.vocabulary.label(products))
    table = listed.pivot(index="customer", columns="product", values="score")
    ids = member.ids[cases.customers.numpy()]
    scores = table.reindex(index=ids, columns=labels).to_numpy()
    ranking, every = cases.ranking, torch.arange(len(ids))
    positive = scores[every, ranking.positive][:, None]
    allowed = ranking.competitors(every).numpy()
    negatives = ranking.negatives.numpy()
    drawn = (np.take_along_axis(scores, negatives.clip(0), axis=1) >= positive) & (negatives >= 0)
    return drawn.sum(axis=1), ((scores >= positive) & allowed).sum(axis=1)


@pytest.mark.parametrize("name", LISTED)
def test_lists_of_the_test_cut_give_the_hit_rates(name, held):
    """Lists for the customers as they were before their test case."""
    found, wanted = held(name), held(name).closing()
    groups = [("", False), (NEW_PRODUCTS, True)] if name in {"hybrid", "content"} else [("", False)]
    for ending, new in groups:
        cases = found.problem.data.cases[found.problem.data.name + ending]["test"]
        every = found.opened.opened.vocabulary.label(found.prepared.facts.products)
        purchases = known_purchases(found, cases)
        listed = longest(found.opened, purchases, every, new)
        drawn, full = ranks(found, cases, listed)
        name_of = cold_metric if new else str
        gains = np.where(drawn < 10, 1 / np.log2(drawn + 2), 0).mean()
        assert (drawn < 10).mean() == wanted[name_of("hr@10")]
        assert gains == pytest.approx(wanted[name_of("ndcg@10")], rel=1e-12)
        if not new:
            assert (full < 10).mean() == wanted["hr@10_full"]


def longest(model, purchases, every, new):
    """Lists that are as long as they can be."""
    from securefl.errors import InputError

    try:
        model.recommend(k=10**6, data=purchases, candidates=every, new_products=new)
    except InputError as error:
        k = int(str(error).rpartition(" to ")[2].split()[0])
    return model.recommend(
        k=k, data=purchases, candidates=every, new_products=new, keep_bought=True
    )


@pytest.mark.parametrize("name", ["demand", "quantiles", "demand-private"])
def test_forecasts_of_the_test_steps_give_the_errors(name, held):
    """Each step is forecast from the data before it, with a band around it."""
    found, wanted = held(name), held(name).closing()
    steps = found.prepared.facts.steps[-found.prepared.config.cuts.test_steps :]
    parts = [found.opened.forecast(1, as_of=step) for step in steps]
    forecasts = pd.concat(parts).pivot(index="series", columns="period_start", values="forecast")
    cases = found.problem.data.cases[found.problem.data.name]["test"]
    keys = [found.prepared.facts.words.keys[key] for key in cases.batch[1].unique().tolist()]
    sold = cases.demand.double().numpy().reshape(len(keys), -1)
    got = forecasts.loc[keys].to_numpy()
    assert list(forecasts.columns) == list(pd.to_datetime(steps))
    assert (np.abs(got - sold)[sold > 0] / sold[sold > 0]).mean() == pytest.approx(
        wanted["mape"], rel=1e-5
    )
    assert np.abs(got - sold).sum() / sold.sum() == pytest.approx(wanted["wape"], rel=1e-5)
    for part in parts:
        assert (part["lower"] <= part["upper"]).all()


@pytest.mark.parametrize("name", ["churn", "churn-private"])
def test_probabilities_of_the_test_date_give_the_scores(name, held):
    found, wanted = held(name), held(name).closing()
    cuts = found.prepared.config.cuts
    (date,) = observation_dates(found.prepared.facts.end, cuts)["test"]
    listed = found.opened.predict_proba(as_of=pd.Timestamp(date))
    cases = found.problem.data.cases[found.problem.data.name]["test"]
    assert listed["customer"].tolist() == cases.customers.tolist()
    gone, chance = cases.gone.numpy(), listed["probability"].to_numpy()
    loss = -np.where(gone, np.log(chance), np.log1p(-chance)).mean()
    assert loss == pytest.approx(wanted["log_loss"], rel=1e-9)
    assert ((chance - gone) ** 2).mean() == pytest.approx(wanted["brier"], rel=1e-9)
    pairs = chance[gone][:, None] - chance[~gone][None]
    assert ((pairs > 0) + 0.5 * (pairs == 0)).mean() == pytest.approx(wanted["auc"], rel=1e-12)
    assert (listed["until"] - listed["as_of"]).unique() == pd.Timedelta(weeks=cuts.horizon_weeks)


def test_prices_have_the_elasticities_of_the_closing_table(held):
    """The expected sales under what is listed have the closing table's deviance."""
    found, wanted = held("pricing"), held("pricing").closing()
    listed, task = found.opened.predict(), found.prepared.task
    own = task.local_outputs(found.model.eval(), found.problem.data)["prices"]
    assert listed["recommended"].tolist() == own["recommended"].tolist()
    assert listed["revenue_expected"].to_numpy() == pytest.approx(
        (own["recommended"] * own["units_expected"]).to_numpy()
    )
    value = np.zeros(len(found.prepared.facts.words.keys))
    for category, elasticity in zip(listed["category"], listed["elasticity"], strict=True):
        value[found.prepared.facts.words.keys.index(category)] = elasticity
    sales = found.problem.data.sales[found.problem.data.name]
    assert sales.scored(value, "test")["deviance"].value == wanted["deviance"]
    assert (listed["elasticity_low"] <= listed["elasticity"]).all()
    assert (listed["revenue_low"] <= listed["revenue_high"]).all()


def test_order_levels_of_the_test_days_cost_as_much(held):
    """A newsvendor's days are independent: costs follow from levels and sales by hand."""
    found, wanted = held("inventory"), held("inventory").closing()
    stock, facts = found.prepared.config.cuts, found.prepared.facts
    steps = facts.steps[-stock.test_steps :]
    parts = [found.opened.predict(as_of=step) for step in steps]
    levels = pd.concat(parts).pivot(index="series", columns="period_start", values="order_up_to")
    cases = found.problem.data.cases[found.problem.data.name]["test"]
    keys = [facts.words.keys[key] for key in cases.batch[1].unique().tolist()]
    sold, up_to = cases.sold[:, -stock.test_steps :], levels.loc[keys].to_numpy()
    left, short = np.maximum(up_to - sold, 0).sum(), np.maximum(sold - up_to, 0).sum()
    cost = (stock.holding_cost * left + stock.shortage_cost * short) / sold.sum()
    assert cost == pytest.approx(wanted["stock_cost"], rel=1e-6)
