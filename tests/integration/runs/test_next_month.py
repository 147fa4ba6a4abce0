"""Next month: a run goes on from the last one, and the budget over the life of the data goes on."""

import pandas as pd
import pytest

from securefl.config.load import load_config, merge
from securefl.consortium.ledger.account_statements import accounts
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.evaluate import evaluate
from securefl.federation.runs.run import run
from securefl.federation.runs.summary import summarise
from securefl.privacy.budget_table import budget_table
from securefl.tasks.served.folder import read_manifest
from securefl.tasks.served.model import open_model
from securefl.tasks.served.starting import started_from
from support.small_runs import PRIVATE_PROFILE as BUDGET
from support.small_runs import purchases_in

NEXT = {"period": ["2026-01-05", "2026-03-20"]}


@pytest.fixture
def month(tmp_path):
    """Runs a month on files that a test may change in between."""
    folder = tmp_path / "files"
    folder.mkdir()
    tree = purchases_in(folder)

    def make(name, before=None, **changes):
        config = load_config(None, merge({**tree, "model": {}}, merge({"rounds": 1}, changes)))
        if before is not None:
            config = started_from(config, tmp_path / before)
        return run(RunDirectory.create(tmp_path / name, config))

    make.files = folder
    return make


def sold_later(folder):
    """A month more of sales, of customers that there were and of new ones, and a new product."""
    table = pd.read_csv(folder / "catalogue.csv")
    new = pd.DataFrame(
        {"product": [999], "department": ["department 0"], "category": ["category 0"]}
    )
    pd.concat([new, table.iloc[::-1]]).to_csv(folder / "catalogue.csv", index=False)
    for path in folder.glob("[!c]*.csv"):
        lines = pd.read_csv(path)
        more = lines.assign(
            time=(pd.to_datetime(lines["time"]) + pd.Timedelta(days=61)).astype(str),
            customer=lines["customer"] + 12,
            product=lines["product"].where(lines.index % 9 > 0, 999),
            basket=lines["basket"] + 1000,
        )
        pd.concat([lines, more]).to_csv(path, index=False)


def test_the_earlier_column_is_what_it_was(month, tmp_path):
    """On the same cases, to the last bit: shared part, own rows and blend are last month's."""
    first = month("first", model={"name": "mf", "dim": 4}, mode="plain")
    second = month("second", "first", model={"name": "mf", "dim": 4}, mode="plain")
    assert second.metrics["earlier"] == first.metrics["federated"]
    assert second.members[2].metrics["earlier"] == first.members[2].metrics["federated"]
    assert second.metrics["federated"] != first.metrics["federated"]
    assert second.start.new == second.start.removed == 0
    table = summarise(second).tables[0]
    assert "Earlier model" in table.columns
    assert evaluate(tmp_path / "second").overall == second.metrics["federated"]
    # The optimizer went on as well: its steps are those of both runs.
    files = [read_manifest(tmp_path / name / "members/north/model").files for name in NAMES]
    assert all("optimizer.safetensors" in found for found in files)
    assert files[0]["optimizer.safetensors"] != files[1]["optimizer.safetensors"]


NAMES = ("first", "second")


def test_a_month_of_new_products_and_customers(month, tmp_path):
    """Under masks: what is new starts from its category, and is served; all agree on the start."""
    model = {"name": "mf", "dim": 4}
    month("first", model=model)
    sold_later(month.files)
    second = month("second", "first", model=model, data=NEXT, start={"removed": "keep"})
    assert (second.start.products, second.start.new, second.start.removed) == (41, 1, 0)
    assert "1 start from their category" in " ".join(summarise(second).notes)
    held = open_model(tmp_path / "second/members/north/model")
    assert held.metrics == second.members[0].metrics["federated"]
    lists = held.recommend(k=41, keep_bought=True)
    assert "999" in set(lists["product"].astype(str))


@pytest.mark.slow
def test_months_compose_over_the_life_of_the_data(month, books):
    """One account, though the tables have grown; the plan has said what it would be."""
    for place, name in enumerate(("first", "second")):
        result = month(name, "first" if place else None, **BUDGET)
        if not place:
            sold_later(month.files)
    planned = budget_table(load_config(None, merge(_plain(month), BUDGET)), months=2)
    account = next(one for one in accounts(books, member="north"))
    assert account.runs == 2
    assert account.epsilon == pytest.approx(planned.months[1].epsilon, rel=1e-6)
    assert result.privacy.members[0].life == pytest.approx(account.epsilon, rel=1e-6)
    once, twice = (one.epsilon for one in planned.months)
    assert planned.total == pytest.approx(once)
    assert once < twice < 2 * once
    assert "earlier" in result.metrics


def _plain(month):
    tree = purchases_in(month.files)
    return {**tree, "model": {}, "rounds": 1}
