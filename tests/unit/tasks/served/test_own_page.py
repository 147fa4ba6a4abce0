"""A member's own page: held-out cases as they were scored, under pseudonyms, complete in itself."""

import dataclasses
import re
import stat

import numpy as np
import pytest
import torch

from securefl.audit.report.own_charts import bins_of
from securefl.audit.report.own_page import own_report, write_own_report
from securefl.audit.report.own_sections import held_out_section
from securefl.audit.report.page import render
from securefl.errors import InputError
from securefl.tasks.recommendation.lists import listed_customers
from support.hostile_text import HOSTILE, unseen


def test_drawn_lists_are_those_that_were_scored(held):
    """Ranks of all customers give the closing table's hit rate among all products."""
    found = held("recommendation")
    served, member = found.opened.opened.served, found.problem.data
    cases, every = member.cases[member.name]["test"], torch.arange(len(member.ids))
    scores = served._scores(served.own.groups[0])(cases, every)
    listed = listed_customers(cases, every, scores.detach(), found.prepared.facts.products)
    assert np.mean([one.rank <= 10 for one in listed]) == found.opened.metrics["hr@10_full"]
    assert all((one.bought in one.listed) == (one.rank <= 10) for one in listed)
    shown = found.opened.held_out()
    assert (len(shown.customers), shown.cases) == (10, len(listed))
    bought = {(one.bought, one.rank, one.known) for one in listed}
    assert {(one.bought, one.rank, one.known) for one in shown.customers} <= bought


@pytest.mark.parametrize("name", ["demand", pytest.param("demand-private", marks=pytest.mark.slow)])
def test_drawn_forecasts_have_the_closing_tables_error(name, held):
    found = held(name)
    shown = found.opened.held_out()
    forecast = np.stack([one.forecast for one in shown.series])
    sold = np.stack([one.held_out for one in shown.series])
    assert np.abs(forecast - sold).sum() / sold.sum() == pytest.approx(
        found.opened.metrics["wape"], rel=1e-5
    )
    last = shown.series[0].steps[-1]
    assert last == found.prepared.facts.steps[-1]
    assert found.opened.forecast(1, as_of=last)["lower"].sum() == pytest.approx(
        sum(one.lower[-1] for one in shown.series)
    )


def test_drawn_probabilities_have_the_closing_tables_score(held):
    shown = held("churn").opened.held_out()
    brier = ((shown.probability - shown.gone) ** 2).mean()
    assert brier == pytest.approx(held("churn").opened.metrics["brier"], rel=1e-9)
    bins = bins_of(shown.probability, shown.gone)
    assert sum(one.count for one in bins) == len(shown.gone)
    assert sum(one.observed * one.count for one in bins) == pytest.approx(shown.gone.sum())


@pytest.mark.slow
def test_drawn_order_levels_cost_what_the_table_says(held):
    found = held("inventory")
    stock, series = found.prepared.config.cuts, found.opened.held_out().series
    sold, up_to = (np.stack([getattr(one, n) for one in series]) for n in ("held_out", "ordered"))
    left, short = np.maximum(up_to - sold, 0).sum(), np.maximum(sold - up_to, 0).sum()
    cost = (stock.holding_cost * left + stock.shortage_cost * short) / sold.sum()
    assert cost == pytest.approx(found.opened.metrics["stock_cost"], rel=1e-6)


def test_drawn_prices_are_todays_where_nothing_changes(held):
    shown = held("pricing").opened.held_out()
    curve, table = shown.curves[0], held("pricing").opened.predict()
    (now,) = np.flatnonzero(curve.change == 0)
    assert curve.revenue[:, now] == pytest.approx(100)
    own = table[table["category"] == curve.name]
    assert curve.elasticity == pytest.approx(own["elasticity"].iloc[0])
    assert curve.takings == pytest.approx(own["revenue"].sum())


def test_a_page_names_products_and_no_customer(shop, tmp_path):
    """Neither a customer's label nor its number or hash is anywhere on it."""
    path = write_own_report(shop.folder, tmp_path / "own.html")
    page = path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "holds north&#39;s own data" in page
    assert re.search(r"p-\d+ \(department \d\)", page)
    assert "Customer 10" in page
    assert not re.search(r"c-\d", page)


@pytest.mark.parametrize("name", ["recommendation", "demand", "churn", "pricing"])
def test_a_page_is_whole_and_no_label_acts_on_it(name, held):
    """Nothing is loaded, and hostile names of series, categories and products are text."""
    model = held(name).opened
    found = model.held_out()
    for part in ("series", "curves"):
        if hasattr(found, part):
            renamed = dataclasses.replace(getattr(found, part)[0], name=HOSTILE)
            found = dataclasses.replace(found, **{part: (renamed,)})
    section = held_out_section(found, model.metrics, lambda product: f"{HOSTILE}{product}")
    page = render(dataclasses.replace(own_report(model, section), title=HOSTILE))
    assert not unseen(page)
    assert "<b>" not in page
    assert ("<svg" in page) == (name != "recommendation")
    assert not re.search(r"<(script|link|img|iframe)|(src|href)=\"[^#]", page)
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_what_is_no_page_is_not_replaced(held, tmp_path):
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(InputError, match="exists and is something else"):
        write_own_report(held("churn").folder, tmp_path / "mine.html")
    path = write_own_report(held("churn").folder)
    assert path == held("churn").folder.parent / "report.html"
    assert write_own_report(held("churn").folder) == path
