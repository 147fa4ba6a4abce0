"""The public catalogue as codes."""

import numpy as np
import pandas as pd
import pytest

from securefl.data.tables import RetailData, RetailerTables
from securefl.tasks.common.product_features import (
    FEATURES,
    price_bands,
    product_features,
    size_band,
)


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("10.5 OZ", "oz 3"),
        ("1 LB", "oz 4"),
        ("16 oz", "oz 4"),
        ("2 L", "oz 6"),
        ("750 ML", "oz 4"),
        ("1/2 GAL", "oz 6"),
        ("6/12 OZ", "oz 6"),
        ("10 3/4 OZ", "oz 3"),
        (".5 OZ", "oz -1"),
        ("300 CT(1)", "count 8"),
        ("1 DZ", "count 3"),
        ("3 STEM", "other"),
        ("LARGE", "other"),
        ("0 OZ", "other"),
        ("  ", ""),
    ],
)
def test_a_size_is_a_band_of_a_factor_of_two(text, band):
    assert size_band(text) == band


@pytest.fixture
def data():
    def tables(name, products, quantity, value, discount):
        time = pd.Timestamp("2026-01-01")
        return RetailerTables(
            name,
            pd.DataFrame({"customer": 1, "product": products, "basket": 1, "time": time})
            .assign(quantity=quantity, value=value, discount=discount)
            .astype({"quantity": float, "value": float, "discount": float}),
        )

    catalogue = pd.DataFrame(
        {
            "product": [1, 2, 3],
            "department": ["a", "a", "b"],
            "category": ["x", "y", "x"],
            "kind": ["", "k", "k"],
            "brand": ["National", "Private", "National"],
            "size": ["12 OZ", "8 oz", "1 LB"],
        }
    )
    north = tables("north", [1, 1, 2], [2, 1, 1], [1.4, 0.9, 5.0], [0.2, 0.0, 0.0])
    south = tables("south", [1], [1], [0.9], [0.0])
    return RetailData("test", (north, south), catalogue)


def test_features_are_codes_of_the_catalogue(data):
    features = product_features(data, np.array([1, 2, 3]))
    assert len(features) == len(FEATURES)
    found = {name: codes.tolist() for name, codes in zip(FEATURES, features, strict=True)}
    assert found["department"] == [0, 0, 1]
    assert found["category"] == [0, 1, 0]
    assert found["brand"] == [0, 1, 0]
    assert found["size"][0] == found["size"][1] != found["size"][2]


def test_the_price_is_that_of_the_shelf_before_discounts(data):
    bands = price_bands(data, np.array([1, 2, 3]))
    assert bands.tolist() == ["1", "6", ""]  # .9 of .8, .9 and .9; 5.0; never sold
