"""Amounts on receipts that are no amounts: they count, but within public bounds."""

import numpy as np
import pandas as pd
import pytest

from securefl.data.tables import RetailerTables
from securefl.tasks.churn.rfm_features import Lines as ChurnLines
from securefl.tasks.churn.rfm_features import Visits, purchase_features
from securefl.tasks.common.amounts import bounded_amounts
from securefl.tasks.pricing.price_list import Lines as PricedLines
from support.neighbours_data import BASE, adversary, receipts


def test_each_amount_is_bounded_by_itself():
    found = bounded_amounts(np.array([np.nan, np.inf, -np.inf, -1.0, 2.5, 1.7e308]))
    assert found.tolist() == [0.0, 1e9, 0.0, 0.0, 2.5, 1e9]


@pytest.mark.parametrize("kind", ["gigantic", "not finite", "no number", "worthless"])
def test_no_amount_makes_a_feature_or_a_price_infinite(kind):
    """A warning is an error here: neither divides by 0, nor subtracts infinities."""
    base = receipts(BASE[:2], seed=9)
    lines = pd.concat([base, adversary(kind, 16, base)], ignore_index=True)
    products = np.arange(100)
    known = ChurnLines.of(lines, products, products % 5)
    moment = int(lines["time"].max().value) + 1
    assert np.isfinite(purchase_features(known, Visits.of(known, moment))).all()
    weeks = np.datetime64("2024-01-01") + 7 * np.arange(53)
    priced = PricedLines.of(RetailerTables("north", lines), weeks)
    assert len(priced.units) > 0
    for column in (priced.units, priced.paid, priced.shelf):
        assert np.isfinite(column).all()
