"""Who is served and with what: strangers, new products, limits, and requests that are refused."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import securefl
from securefl.config.load import load_config
from securefl.errors import DataError, InputError
from securefl.tasks.common.serving import Request
from securefl.tasks.served.model import open_model


def lines(customer, products, **columns):
    days = pd.Timestamp("2026-03-02") + pd.to_timedelta(np.arange(len(products)), unit="D")
    return pd.DataFrame({"customer": customer, "product": products, "time": days, **columns})


def test_lists_have_the_retailers_own_labels(shop):
    listed = shop.opened.recommend(k=2)
    assert listed["customer"].str.startswith("c-").all()
    assert listed["product"].str.startswith("p-").all()
    assert listed.groupby("customer")["rank"].apply(list).map(lambda r: r == [1, 2]).all()
    bought = pd.read_csv(shop.folder.parent / "north.csv")[["customer", "product"]]
    assert listed.merge(bought, on=["customer", "product"]).empty


def test_a_stranger_is_served_from_a_history_and_one_without_by_the_popular_list(shop):
    bought = lines("stranger", ["p-101", "p-102"])
    listed = shop.opened.recommend(["stranger", "nobody", "c-3"], k=3, data=bought)
    assert listed["customer"].tolist() == ["stranger"] * 3 + ["nobody"] * 3 + ["c-3"] * 3
    assert listed["basis"].tolist() == ["history"] * 3 + ["popular"] * 6
    lists = listed.groupby("customer")["product"].apply(list)
    assert lists["nobody"] == lists["c-3"]
    assert not {"p-101", "p-102"} & set(lists["stranger"])
    kept = shop.opened.recommend(["stranger"], k=40, data=bought, keep_bought=True)
    assert {"p-101", "p-102"} <= set(kept["product"])


def test_lists_keep_to_departments_and_candidates(shop):
    catalogue = pd.read_csv(shop.folder.parent / "catalogue.csv").set_index("product")["department"]
    one = shop.opened.recommend(k=3, departments=["department 1"])
    assert set(catalogue[one["product"]]) == {"department 1"}
    others = shop.opened.recommend(k=3, without_departments=["department 1"])
    assert "department 1" not in set(catalogue[others["product"]])
    few = shop.opened.recommend(k=2, candidates=["p-110", "p-111", "never heard of"])
    assert set(few["product"]) <= {"p-110", "p-111"}
    with pytest.raises(InputError, match="no product is of department 'fish'; known: dep"):
        shop.opened.recommend(departments=["fish"])
    with pytest.raises(InputError, match="none of the candidates is known"):
        shop.opened.recommend(candidates=["fish"])
    with pytest.raises(InputError, match="k is 3, but only 1 to 2 products"):
        shop.opened.recommend(k=3, candidates=["p-110", "p-111"])


def test_a_catalogue_that_was_reordered_and_has_grown_means_the_same(shop, tmp_path):
    """Products are found by label, wherever they stand now; new ones are left out."""
    before = shop.opened.recommend(k=4)
    for path in shop.folder.parent.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    catalogue = pd.read_csv(tmp_path / "catalogue.csv")
    new = pd.DataFrame({"product": ["p-new"], "department": ["x"], "category": ["y"]})
    pd.concat([new, catalogue.iloc[::-1]]).to_csv(tmp_path / "catalogue.csv", index=False)
    sales = pd.read_csv(tmp_path / "north.csv")
    more = sales.iloc[:5].assign(product="p-new")
    pd.concat([sales, more]).to_csv(tmp_path / "north.csv", index=False)
    assert shop.opened.recommend(k=4, data=tmp_path).equals(before)
    assert shop.opened.recommend(k=4, data=tmp_path / "north.csv").equals(before)
    config = load_config(None, {**shop.prepared.config.model_dump(mode="json")})
    assert shop.opened.recommend(k=4, data=config).equals(before)


def test_purchases_count_until_a_moment(shop):
    early = shop.opened.recommend(k=3, as_of="2026-01-20")
    assert len(early) < len(shop.opened.recommend(k=3))
    with pytest.raises(InputError, match="have no purchase"):
        shop.opened.recommend(as_of="2020-01-01")
    with pytest.raises(InputError, match="'yesterday-ish' is no date"):
        shop.opened.recommend(as_of="yesterday-ish")


def test_new_products_are_ranked_apart(held):
    found = held("hybrid")
    new = found.prepared.task.new_products(found.prepared.facts).numpy()
    products = set(found.prepared.facts.products[new].tolist())
    assert set(found.opened.recommend(k=2, new_products=True)["product"]) <= products
    assert not products & set(found.opened.recommend(k=2)["product"])
    with pytest.raises(InputError, match="new products: this model has none"):
        held("recommendation").opened.recommend(new_products=True)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (pd.DataFrame({"customer": [1]}), "no column 'product'"),
        (lines("a", ["p-101"], colour="red"), "column 'colour' is unknown"),
        (lines("a", ["q-1", "q-2"]), "none of 1 products in the data is known"),
        (lines("a", [None]), "missing"),
        (lines("a", ["p-101"], quantity=-1), "is not above 0"),
        (lines("a", ["p-101"]).assign(time="soon"), "is not a date"),
    ],
)
def test_wrong_purchases_are_one_line(data, line, shop):
    with pytest.raises(InputError, match=line):
        shop.opened.recommend(data=data)


def test_wrong_places_are_one_line(shop, held, tmp_path):
    with pytest.raises(InputError, match="neither a folder nor"):
        shop.opened.recommend(data=tmp_path / "sales.xls")
    with pytest.raises(InputError, match="no such file"):
        shop.opened.recommend(data=tmp_path / "sales.csv")
    with pytest.raises(InputError, match="data are no files"):
        held("recommendation").opened.recommend(data=tmp_path)
    other = shop.prepared.config.model_dump(mode="json")
    for member in other["data"]["members"]:
        member["name"] = f"{member['name']}-2"
    with pytest.raises(InputError, match="the data have no member 'north'; did you mean"):
        shop.opened.recommend(data=load_config(None, other))
    pd.DataFrame({"x": [1]}).to_csv(tmp_path / "sales.csv", index=False)
    with pytest.raises(DataError, match="no column '"):
        shop.opened.recommend(data=tmp_path / "sales.csv")


def test_a_model_refuses_what_another_task_does(held):
    with pytest.raises(InputError, match="task 'recommendation' does not forecast: recommend"):
        held("recommendation").opened.forecast(2)
    with pytest.raises(InputError, match="task 'demand' does not predict_proba: forecast"):
        held("demand").opened.predict_proba()
    with pytest.raises(InputError, match="customers: not for a model of task 'demand'"):
        list(held("demand").opened.stream(Request(), customers=["1"]))


def test_a_forecast_goes_on_from_its_own_steps(held):
    """Dates follow each other, and bands are as wide as errors so far ahead have been."""
    found = held("demand")
    ahead, first = found.opened.forecast(2), found.opened.forecast(1)
    steps = ahead["period_start"].unique()
    assert (np.diff(steps) == np.diff(found.prepared.facts.steps)[0]).all()
    assert steps[0] == found.prepared.facts.steps[-1] + np.diff(found.prepared.facts.steps)[0]
    assert ahead.iloc[: len(first)]["forecast"].to_numpy() == pytest.approx(
        first["forecast"].to_numpy()
    )
    assert ((ahead["lower"] >= 0) & (ahead["lower"] <= ahead["upper"])).all()
    narrow = found.opened.forecast(2, interval=0.2)
    assert (narrow["upper"] - narrow["lower"]).sum() < (ahead["upper"] - ahead["lower"]).sum()


def test_a_forecast_of_the_coming_step_is_the_runs_own(held):
    """What a member's `coming` cases say of the step after the data."""
    found = held("demand-private")
    task, model = found.prepared.task, found.model.eval()
    wanted = task.coming(model, found.problem.data).detach().double().numpy()
    assert found.opened.forecast(1)["forecast"].to_numpy() == pytest.approx(wanted, rel=1e-6)


def test_a_horizon_beyond_the_known_errors_is_refused(held):
    found = held("demand")
    cuts, steps = found.prepared.config.cuts, found.prepared.facts.steps
    third = steps[len(steps) - cuts.test_steps - cuts.validation_steps + 2]
    assert found.opened.forecast(2, as_of=third)["period_start"].nunique() == 2
    with pytest.raises(InputError, match="errors of forecasts are known for 1 to 2 days"):
        found.opened.forecast(3, as_of=third)
    with pytest.raises(InputError, match="interval is 1, not between 0 and 1"):
        found.opened.forecast(1, interval=1.0)
    with pytest.raises(InputError, match="complete days are known, but a forecast needs"):
        found.opened.forecast(1, as_of=found.prepared.facts.steps[3])


def test_order_levels_have_dates_and_the_policys_figures(held):
    found = held("inventory")
    table = found.opened.predict()
    assert (table["period_start"] == found.prepared.facts.steps[-1] + np.timedelta64(1, "D")).all()
    assert (table["critical_level"] == 0.8).all()
    own = found.prepared.task.local_outputs(found.model.eval(), found.problem.data)
    assert table["order_up_to"].to_numpy() == pytest.approx(
        own["order-levels"]["order_up_to"].to_numpy()
    )


def test_threads_get_the_same_lists(held):
    """The data are read once, and nothing of a model changes while it answers."""
    model, wanted = open_model(held("profile").folder), held("profile").opened.recommend(k=5)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(model.recommend(k=5))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(one.equals(wanted) for one in found)


def test_many_threads_ask_one_model_different_things(held):
    """Each gets what it would get alone, of the data that are kept and of data of its own."""
    found = held("recommendation")
    alone, shared = found.opened, open_model(found.folder)
    bought = pd.DataFrame({"customer": "x", "product": [3, 5], "time": "2026-03-02"})

    def asked(model, place):
        if place % 4 == 3:
            return model.recommend(["x", f"new {place}"], k=3, data=bought)
        return model.recommend([place, f"new {place}"], k=1 + place % 5)

    wanted = [asked(alone, place) for place in range(16)]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda place: asked(shared, place % 16), range(64)))
    for place, one in enumerate(got):
        pd.testing.assert_frame_equal(one, wanted[place % 16])


def test_the_public_names_open_a_model(held):
    model = securefl.open_model(held("churn").folder)
    assert isinstance(model, securefl.Model)
    assert (model.verb, model.manifest.member) == ("predict_proba", "retailer-0")
    assert repr(model) == "<securefl.Model churn/logistic of retailer-0>"
    every = model.predict_proba()
    some = model.predict_proba(every["customer"].iloc[:2], data=model.config)
    pd.testing.assert_frame_equal(some, every.iloc[:2])
    with pytest.raises(InputError, match="no customer bought often and lately enough"):
        model.predict_proba(["unheard of"])
