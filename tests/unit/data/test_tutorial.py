"""The synthetic tables have the tutorial's distributions."""

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from securefl.config.data import TutorialSettings
from securefl.data.schema import ANONYMOUS
from securefl.data.sources.registry import load


def ratings(**options):
    return load(TutorialSettings(**options))


def demand(**options):
    """Demand [days, products] of every retailer."""
    options = {"products": 100, "days": 365, **options}
    grids = []
    for member in load(TutorialSettings(table="demand", **options)).members:
        sales = member.transactions
        day = (sales["time"] - np.datetime64("2017-01-02")).dt.days
        grid = np.zeros((options["days"], options["products"]))
        grid[day, sales["product"]] = sales["quantity"]
        grids.append(grid)
    return grids


def scalar_ratings(factor_rng, count, retailer):
    """The tutorial's formula, one rating at a time."""
    classes = []
    for _ in range(count):
        score = np.dot(factor_rng.standard_normal(10), factor_rng.standard_normal(10))
        classes.append(int(np.clip((score + 0.1 * retailer) * 0.5 + 3, 1, 5)) - 1)
    return np.bincount(classes, minlength=5) / count


def test_sizes_are_the_tutorials():
    data = ratings()
    assert len(data.members) == 5
    assert len(data.products) == 500
    for member in data.members:
        assert 5000 <= len(member.transactions) <= 15000
        assert member.transactions["customer"].between(0, 999).all()


def test_rating_classes_are_distributed_as_by_the_formula():
    data = ratings(customers=5000, items=5000, interactions=(200_000, 200_000), retailers=4, seed=3)
    for retailer in (0, 3):
        found = data.members[retailer].transactions["rating"].value_counts(normalize=True)
        expected = scalar_ratings(np.random.default_rng(9), 40_000, retailer)
        assert found.sort_index().to_numpy() == pytest.approx(expected, abs=0.03)


def test_popularity_follows_the_power_law():
    """Weights are U^(1/a) for a uniform U: the largest tenth holds 1 - 0.9^(1/a + 1) of them."""
    sales = ratings(customers=4000, items=4000, interactions=(400_000, 400_000)).members[0]
    for column, exponent in (("product", 0.3), ("customer", 0.5)):
        counts = np.sort(sales.transactions[column].value_counts().to_numpy())[::-1]
        share = counts[:400].sum() / counts.sum()
        assert share == pytest.approx(1 - 0.9 ** (1 / exponent + 1), abs=0.02)


def test_equal_settings_give_equal_tables_and_other_seeds_others():
    first, again, other = ratings(seed=1), ratings(seed=1), ratings(seed=2)
    for left, right in zip(first.members, again.members, strict=True):
        assert_frame_equal(left.transactions, right.transactions)
    assert not first.members[0].transactions.equals(other.members[0].transactions)


def test_retailers_are_drawn_apart_and_do_not_depend_on_their_number():
    few, many = ratings(retailers=2), ratings(retailers=4)
    assert_frame_equal(few.members[1].transactions, many.members[1].transactions)
    assert not few.members[0].transactions.equals(few.members[1].transactions)


def mean_ratings(member, items):
    """Mean rating of each item, NaN where nobody rated it."""
    means = member.transactions.groupby("product")["rating"].mean()
    return means.reindex(range(items)).to_numpy()


def test_shared_items_reach_every_retailer():
    """One user a retailer: of shared items, eleven users' ratings tell the twelfth's."""
    explained = {}
    for shared in (True, False):
        data = ratings(
            shared_items=shared,
            retailers=12,
            customers=1,
            items=60,
            interactions=(60_000, 60_000),
        )
        means = np.array([mean_ratings(member, 60) for member in data.members])
        means = means[:, ~np.isnan(means).any(axis=0)]
        features = np.column_stack([means[:11].T, np.ones(means.shape[1])])
        fit = features @ np.linalg.lstsq(features, means[11], rcond=None)[0]
        explained[shared] = 1 - np.var(means[11] - fit) / np.var(means[11])
    assert explained[True] > 0.8 > explained[False] + 0.2


def test_demand_follows_the_formula_within_its_noise():
    days = np.arange(365)
    weekend = np.where(days % 7 >= 5, 1.2, 1.0)
    factor = weekend * (1 + 0.3 * np.sin(2 * np.pi * days / 365)) * (1 + 0.0001 * days)
    for retailer, grid in enumerate(demand()):
        shape = factor * (1 + 0.1 * retailer)
        base = np.round(grid.mean(axis=0) / shape.mean())
        assert ((base >= 9) & (base <= 100)).all()
        noise = grid - np.floor(base * shape[:, None])
        close = np.abs(noise) <= 5 + np.ceil(shape.max())
        assert close.mean() > 0.99
        assert noise.std() == pytest.approx(np.sqrt(10), abs=0.3)


def test_the_weekend_is_saturday_and_sunday():
    sales = load(TutorialSettings(table="demand")).members[0].transactions
    mean = sales.groupby(sales["time"].dt.day_of_week)["quantity"].mean()
    assert mean.loc[[5, 6]].min() > 1.1 * mean.loc[[0, 1, 2, 3, 4]].max()


def test_shared_demand_differs_by_the_retailers_factor_alone():
    first, second = demand(shared_items=True, retailers=2)
    ratio = second.mean(axis=0) / first.mean(axis=0)
    assert ratio == pytest.approx(np.full(100, 1.1), abs=0.05)
    apart = demand(retailers=2)
    assert np.std(apart[1].mean(axis=0) / apart[0].mean(axis=0)) > 0.3


def test_demand_has_no_customer_and_no_empty_rows():
    sales = load(TutorialSettings(table="demand", seed=5)).members[0].transactions
    assert (sales["customer"] == ANONYMOUS).all()
    assert (sales["quantity"] > 0).all()
    assert not sales.duplicated(["product", "time"]).any()


def purchases(**options):
    return load(TutorialSettings(table="purchases", **{"customers": 400, "items": 96, **options}))


def bought(member, items=96):
    """Who bought what, 0 or 1 [customers, items]."""
    sales = member.transactions
    return sales.pivot_table(
        index="customer", columns="product", values="quantity", fill_value=0
    ).reindex(columns=range(items), fill_value=0)


def test_customers_buy_as_many_different_products_as_stated_in_small_baskets():
    for member in purchases(lines=(6, 11)).members:
        sales = member.transactions
        assert not sales.duplicated(["customer", "product"]).any()
        assert sales.groupby("customer").size().between(6, 11).all()
        assert set(sales.groupby("customer").size()) == set(range(6, 12))
        baskets = sales.groupby(["customer", "basket"])
        assert baskets.size().max() == 3
        assert baskets["time"].nunique().max() == 1
        assert sales.groupby("customer")["time"].agg(lambda t: t.is_monotonic_increasing).all()


def test_products_of_a_kind_are_bought_together():
    data = purchases(customers=3000)
    together = np.corrcoef(bought(data.members[0]).to_numpy().T)
    for level in ("kind", "category", "department"):
        codes = data.products[level].to_numpy()
        same = (codes[:, None] == codes[None, :]) & ~np.eye(96, dtype=bool)
        assert together[same].mean() > together[codes[:, None] != codes[None, :]].mean() + 0.03


def test_shared_products_are_as_popular_and_as_alike_at_every_retailer():
    pairs = np.triu_indices(96, 1)
    for shared in (True, False):
        first, second = purchases(customers=3000, retailers=2, shared_items=shared).members
        likeness = [np.corrcoef(bought(m).to_numpy().T)[pairs] for m in (first, second)]
        popularity = [bought(m).sum() for m in (first, second)]
        for facts in (likeness, popularity):
            agreement = np.corrcoef(facts)[0, 1]
            assert agreement > 0.8 if shared else agreement < 0.5


def test_a_customer_cannot_buy_more_products_than_there_are():
    with pytest.raises(ValueError, match="more products than there are items"):
        TutorialSettings(table="purchases", items=20)
    with pytest.raises(ValueError, match="the first number is above the last"):
        TutorialSettings(table="purchases", lines=(9, 8))
