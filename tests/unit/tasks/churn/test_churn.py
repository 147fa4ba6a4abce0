"""Churn on generated shoppers: nothing of the future, a unit of its own, better than recency."""

import dataclasses
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.schema import check_data
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError, DataError, InputError
from securefl.federation.runs.prepare import prepare_data
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.ml.batches import all_units
from securefl.ml.metrics.sums import total
from securefl.tasks.churn.examples import RetailerObservations, observation_dates
from securefl.tasks.churn.rfm_features import WEEK, Lines, Visits, purchase_features
from securefl.tasks.churn.settings import FEATURES
from securefl.tasks.churn.side_features import profile_features
from securefl.tasks.churn.task import recency_rule
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_to_best
from securefl.tasks.registry import create_task

MONDAY = pd.Timestamp("2025-01-06")
TASK = {"task": "churn", "references": {"enabled": False}, "engine": {"workers": 1}}


def lines_of(customer, days):
    """A basket of two products on each day; half of the second product's price is taken off."""
    day = np.repeat(np.asarray(days), 2)
    second = np.arange(len(day)) % 2
    return pd.DataFrame(
        {
            "customer": customer,
            "product": second + 2 * (customer % 3),
            "basket": 1000 * customer + np.repeat(np.arange(len(days)), 2),
            "time": MONDAY + pd.to_timedelta(day, unit="D"),
            "quantity": 1.0,
            "value": 3.0 - second,
            "discount": second.astype(float),
        }
    )


def shopper(rng, customer):
    """A third leave at some time and buy ever more seldom before; the others never do.

    Each has a rhythm of her own, so that an absence means something else for each of them.
    """
    gap, day, days = rng.choice([3.0, 9.0, 27.0]), rng.uniform(0, 20), []
    leaves = rng.uniform(100, 364) if rng.random() < 0.34 else np.inf
    while day < min(leaves, 364):
        days.append(day)
        slower = 1 + 2 * (leaves - day < 60)
        day += gap * slower * rng.uniform(0.6, 1.4)
    return lines_of(customer, np.floor(days)) if days else None


@cache
def shoppers(retailers=3, customers=90):
    catalogue = pd.DataFrame({"product": np.arange(6)})
    for level in ("department", "category", "kind", "brand", "size"):
        catalogue[level] = [f"{level} {number // 2}" for number in range(6)]
    members = []
    for number in range(retailers):
        rng = np.random.default_rng(number)
        sales = pd.concat([shopper(rng, customer) for customer in range(customers)])
        sales = sales.sort_values("time", ignore_index=True)
        members.append(RetailerTables(f"retailer-{number}", sales))
    data = RetailData("generated", tuple(members), catalogue)
    check_data(data)
    return data


def prepared_for(data=None, **changes):
    config = load_config(None, merge(TASK, changes))
    return prepare_data(config, data or shoppers())


def features(sales, moment):
    lines = Lines.of(sales, np.arange(6), np.arange(6) // 2)
    moment = int(moment.value)
    known = lines.between(0, moment)
    found = purchase_features(known, Visits.of(known, moment))
    return [dict(zip(FEATURES, row, strict=True)) for row in found]


def test_every_feature_of_one_customer_by_hand():
    log = np.log1p
    days = [0, 7, 21, 70]
    (found,) = features(lines_of(1, days), MONDAY + pd.Timedelta(days=77))
    gaps = np.array([1, 2, 7])
    assert found == pytest.approx(
        {
            "recency": log(1) / log(52),
            "baskets in 4 weeks": log(1) / log(60),
            "baskets in 8 weeks": log(2) / log(60),
            "baskets in 16 weeks": log(4) / log(60),
            "value in 4 weeks": log(5) / log(3000),
            "value in 8 weeks": log(10) / log(3000),
            "value in 16 weeks": log(20) / log(3000),
            "value of a basket": log(5) / log(200),
            "products": log(2) / log(1000),
            "categories": log(1) / log(200),
            "share discounted": 4 / 24,
            "lines discounted": 0.5,
            "mean gap": log(gaps.mean()) / log(52),
            "spread of gaps": gaps.std() / gaps.mean() / 5,
            "recency over mean gap": log(1 / gaps.mean()) / log(52),
            "recency over longest gap": log(1 / 7) / log(52),
            "gaps as long as the absence": 1.0,
            "trend of baskets": (log(2) - log(2)) / 3,
            "trend of value": (log(10) - log(10)) / 6,
        }
    )


def test_features_and_cases_see_nothing_of_the_future():
    prepared = prepared_for()
    facts, settings = prepared.facts, prepared.task.split
    tables = shoppers().members[0]
    moment = observation_dates(facts.end, settings)["validation"][0]
    before = tables.transactions["time"] < pd.Timestamp(moment)
    past = dataclasses.replace(tables, transactions=tables.transactions[before])
    whole = RetailerObservations(tables, facts, settings).at([moment])
    cut = RetailerObservations(past, facts, settings).at([moment])
    assert torch.equal(whole.customers, cut.customers)
    assert torch.equal(whole.features, cut.features)
    assert cut.gone.all()
    assert not whole.gone.all()


def test_all_that_is_trained_on_had_happened_before_the_test():
    settings = prepared_for().task.split
    found = observation_dates(60 * WEEK, settings)
    horizon = settings.horizon_weeks * WEEK
    assert len(found["train"]) == settings.training_cutoffs
    assert max(found["train"]) + horizon <= min(found["validation"])
    assert max(found["validation"]) + horizon <= min(found["test"])
    assert max(found["test"]) + horizon == 60 * WEEK


def test_who_counts_and_who_is_gone():
    data = shoppers()
    prepared = prepared_for(data)
    settings = prepared.task.split
    moment = pd.Timestamp(observation_dates(prepared.facts.end, settings)["test"][0])
    sales = data.members[1].transactions
    before, after = sales[sales["time"] < moment], sales[sales["time"] >= moment]
    known = before[before["time"] >= moment - pd.Timedelta(weeks=52)]
    baskets = known.groupby("customer")["basket"].nunique()
    expected = baskets.index[baskets >= 5]
    cases = prepared.members[1].cases["retailer-1"]["test"]
    assert cases.customers.tolist() == expected.tolist()
    assert cases.gone.tolist() == [c not in set(after["customer"]) for c in expected]
    lately = known.groupby("customer")["time"].max().loc[expected] >= moment - pd.Timedelta(weeks=3)
    fewer = prepared_for(data, churn={"active_weeks": 3}).members[1].cases["retailer-1"]["test"]
    assert fewer.customers.tolist() == expected[lately].tolist()


def test_a_unit_is_a_customer_with_her_cases_at_all_cutoffs():
    member = prepared_for().members[0]
    training = member.cases["retailer-0"]["train"]
    assert member.units == len(set(training.customers.tolist()))
    rows, gone, present = all_units(member.examples)
    assert present.sum() == len(training.customers)
    assert present.shape[1] == 5
    first = training.customers == training.customers.min()
    assert torch.equal(rows[0][present[0]], training.features[first])
    assert torch.equal(gone[0][present[0]], training.gone[first])


def test_the_gradient_of_a_customer_depends_on_her_alone():
    data, found = shoppers(), []
    sales = data.members[0].transactions
    richer = sales.assign(value=np.where(sales["customer"] == 4, 1.0, 100.0) * sales["value"])
    other = dataclasses.replace(data.members[0], transactions=richer)
    for tables in (data, dataclasses.replace(data, members=(other, *data.members[1:]))):
        prepared = prepared_for(tables)
        owners = prepared.members[0].cases["retailer-0"]["train"].customers.unique()
        index = torch.nonzero(torch.isin(owners, torch.tensor([3, 4])))[:, 0]
        model = prepared.task.model(prepared.facts, 0)
        losses = prepared.task.loss(model, prepared.members[0].examples.batch(index))
        found += [
            torch.autograd.grad(loss, model.direct.weight, retain_graph=True) for loss in losses
        ]
    (third, fourth), (third_richer, fourth_again) = found[:2], found[2:]
    assert torch.equal(fourth[0], fourth_again[0])
    assert not torch.equal(third[0], third_richer[0])


def test_the_norm_of_a_gradient_is_bounded_whatever_is_bought():
    prepared = prepared_for()
    member, model = prepared.members[0], prepared.task.model(prepared.facts, 0)
    assert all(0 <= part.min() <= part.max() <= 1 for part in member.examples.columns[0][:, :-2].T)
    assert member.examples.columns[0].abs().max() <= 1
    losses = prepared.task.loss(model, all_units(member.examples))
    norms = [
        torch.autograd.grad(loss, model.direct.weight, retain_graph=True)[0].norm()
        for loss in losses
    ]
    assert max(norms) < (len(FEATURES) * 1.5**2) ** 0.5


def scores(prepared, model, split="test"):
    tallies = [prepared.task.evaluate(model, member, split) for member in prepared.members]
    return total(tally for one in tallies for tally in one.values()).values()


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_training_beats_recency_where_customers_have_rhythms(model):
    prepared = prepared_for(model={"name": model}, churn={"active_weeks": 8})
    learner = LocalProblem(prepared.config, prepared.task, prepared.facts, prepared.pooled())
    trained = learner.fresh_model("pooled")
    train_to_best(learner, trained, prepared.config.training, rounds=5)
    found = scores(prepared, trained)
    baseline = total(
        tally for m in prepared.members for tally in prepared.task.baseline(m, "test").values()
    ).values()
    assert found["auc"] > baseline["auc"] + 0.02
    assert found["log_loss"] < baseline["log_loss"]
    assert baseline["auc"] > 0.6


def test_the_rule_of_recency_ranks_by_absence_and_fits_the_training_cases():
    cases = prepared_for().members[0].cases["retailer-0"]
    logits = recency_rule(cases["train"], cases["train"])
    gone = float(cases["train"].gone.double().mean())
    assert float(torch.sigmoid(logits).mean()) == pytest.approx(gone, abs=0.01)
    away = cases["test"].features[:, 0].double()
    assert torch.equal(recency_rule(cases["train"], cases["test"]).argsort(), away.argsort())
    nobody = dataclasses.replace(cases["train"], gone=torch.zeros_like(cases["train"].gone))
    assert recency_rule(nobody, cases["test"]).isfinite().all()


def test_pooled_are_all_units_and_everybodys_cases():
    prepared = prepared_for()
    pooled = prepared.pooled()
    assert len(pooled.examples) == sum(len(member.examples) for member in prepared.members)
    last = prepared.members[-1].examples
    mine = last.batch(torch.tensor([0]))
    theirs = pooled.examples.batch(torch.tensor([len(pooled.examples) - len(last)]))
    for own, part in zip(mine, theirs, strict=True):
        assert torch.equal(own, part)
    assert set(pooled.cases) == {member.name for member in prepared.members}


def test_what_is_served_is_never_worse_on_validation_than_either_model_alone():
    prepared = prepared_for(privacy={"dp": "local", "epsilon": 1.0}, rounds=2)
    task, member = prepared.task, prepared.members[0]
    torch.manual_seed(5)
    noisy = task.model(prepared.facts, 0)
    torch.nn.init.normal_(noisy.direct.weight)
    found = {
        arm: score["retailer-0"].values()["log_loss"]
        for arm, score in (
            ("served", task.evaluate(noisy, member, "validation")),
            ("released", task.evaluate_shared(noisy, member, "validation")),
            ("own", task.evaluate_local(member, "validation")),
        )
    }
    assert found["served"] <= min(found["released"], found["own"])
    assert found["own"] != found["released"]


def with_more(**tables):
    data = shoppers()
    first = dataclasses.replace(data.members[0], **tables)
    return dataclasses.replace(data, members=(first, *data.members[1:]))


def test_profiles_are_words_and_what_is_unknown_is_nothing():
    profiles = pd.DataFrame({"customer": [3, 4, 5], "age": ["65+", "", "19-24"], "kids": [0, 2, 1]})
    words = ["age=65+", "age=19-24", "kids=2", "size=9"]
    data = with_more(profiles=profiles.assign(size=["", "", ""]))
    prepared = prepared_for(data, churn={"profile": words})
    cases = prepared.members[0].cases["retailer-0"]["test"]
    told = cases.features[:, len(FEATURES) :]
    rows = {
        int(customer): row.tolist() for customer, row in zip(cases.customers, told, strict=True)
    }
    expected = {3: [1, 0, 0, 0], 4: [0, 0, 1, 0], 5: [0, 1, 0, 0]}
    assert {c: row for c, row in rows.items() if any(row)} == {
        c: row for c, row in expected.items() if c in rows
    }
    assert len(set(expected) & set(rows)) >= 2
    assert not prepared.members[1].cases["retailer-1"]["test"].features[:, len(FEATURES) :].any()


def test_one_missing_value_changes_no_other_profile():
    """It makes floats of a column of integers, and "2" was "2.0" for all others."""
    kids = pd.DataFrame({"customer": [3, 4, 5, 6], "kids": [0, 2, 1, 2]})
    one_more = pd.DataFrame({"customer": [2], "kids": [np.nan]})
    ids = np.array([3, 4, 5, 6, 9])
    before = profile_features(kids, ["kids=2"], ids)
    assert before[:, 0].tolist() == [0, 1, 0, 1, 0]
    assert np.array_equal(profile_features(pd.concat([kids, one_more]), ["kids=2"], ids), before)
    as_text = kids.astype({"kids": "str"})
    assert np.array_equal(profile_features(as_text, ["kids=2"], ids), before)


def test_events_count_by_word_and_only_before_the_cutoff():
    prepared = prepared_for()
    moment = pd.Timestamp(observation_dates(prepared.facts.end, prepared.task.split)["test"][0])
    week = pd.Timedelta(weeks=1)
    customer = int(prepared.members[0].cases["retailer-0"]["test"].customers[0])
    browsing = pd.DataFrame(
        {
            "customer": customer,
            "product": [0, 1, 4, -1, 0],
            "time": [moment - week, moment - 3 * week, moment - 20 * week, moment - week, moment],
            "event": ["view", "view", "view", "mailing", "view"],
        }
    )
    words = ["view", "view:department 0", "view:category 2", "mailing", "call"]
    cut = prepared_for(with_more(browsing=browsing), churn={"events": words})
    told = cut.members[0].cases["retailer-0"]["test"].features[:, len(FEATURES) :]
    counts = np.log1p([2, 2, 0, 1, 0]) / np.log1p(50)
    nearness = 1 - np.log1p([1, 1, 20, 1, 52]) / np.log1p(52)
    assert told[0].numpy() == pytest.approx(np.stack([counts, nearness], axis=1).ravel(), abs=1e-6)
    assert not told[1:].any()
    untold = with_more(browsing=browsing[browsing["event"] == "view"].drop(columns="event"))
    again = prepared_for(untold, churn={"events": words[:3]}).members[0].cases["retailer-0"]["test"]
    assert torch.equal(again.features[:, -6:], told[:, :6])


def test_browsing_that_says_who_leaves_is_learned():
    """Customers who look at the second department for the last time are about to leave."""
    data, members = shoppers(), []
    for tables in data.members:
        last = tables.transactions.groupby("customer")["time"].max()
        weekly = [last - pd.Timedelta(weeks=weeks) for weeks in range(1, 40)]
        views = pd.concat([w.rename("time").reset_index() for w in weekly])
        late = (last.loc[views["customer"]].to_numpy() - views["time"]) < pd.Timedelta(weeks=6)
        views["product"] = np.where(
            late & (views["time"] < data_end() - pd.Timedelta(weeks=9)), 2, 0
        )
        members.append(dataclasses.replace(tables, browsing=views[["customer", "product", "time"]]))
    told = dataclasses.replace(data, members=tuple(members))
    found = {}
    for words in ((), ("view:department 0", "view:department 1")):
        prepared = prepared_for(told, churn={"events": list(words)})
        learner = LocalProblem(prepared.config, prepared.task, prepared.facts, prepared.pooled())
        model = learner.fresh_model("pooled")
        train_to_best(learner, model, prepared.config.training, rounds=5)
        found[words] = scores(prepared, model)["auc"]
    without, beside = found.values()
    assert beside > without


def data_end():
    return max(member.transactions["time"].max() for member in shoppers().members)


def test_facts_are_read_as_they_were_written(tmp_path):
    config = load_config(None, merge(TASK, {"data": {"source": "tutorial", "customers": 40}}))
    made = make_facts(config, tmp_path / "facts")
    read = open_facts(tmp_path / "facts")
    assert read.digest == made.digest
    assert (read.content.begin, read.content.end) == (made.content.begin, made.content.end)
    assert np.array_equal(read.content.category, made.content.category)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"horizon_weeks": 20}, DataError, "52 weeks of purchases, but more than 76 needed"),
        ({"min_baskets": 500}, InputError, "retailer-0: no customer bought 500 baskets"),
        ({"profile": ["age"]}, ConfigError, "churn.profile: 'age' is no attribute=level"),
        ({"profile": ["age=1"]}, DataError, "no retailer's profiles have a column 'age'"),
        ({"events": ["view:PETS"]}, DataError, "has no department or category 'PETS'"),
    ],
)
def test_what_is_wrong_is_one_line(changes, error, text):
    with pytest.raises(error) as caught:
        prepared_for(churn=changes)
    assert text in str(caught.value)


def test_a_retailer_that_has_too_few_cases_still_trains_and_is_scored():
    prepared = prepared_for(shoppers(3, 12))
    assert np.isfinite(scores(prepared, prepared.task.model(prepared.facts, 0))["log_loss"])


def test_the_task_is_made_from_its_line_in_the_registry():
    assert type(create_task(prepared_for().config)).__name__ == "ChurnTask"
