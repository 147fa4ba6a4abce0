"""Every way in which a table can break the schema has one line that says where."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from securefl.config.data import TutorialSettings
from securefl.data.schema import PROMOTIONS, Origin, check_data, check_table
from securefl.data.sources.registry import load
from securefl.errors import DataError


@pytest.fixture(scope="module")
def good():
    return load(TutorialSettings(retailers=2, interactions=(50, 60)))


def with_sales(data, change):
    """The data with the first retailer's transactions changed."""
    first, *others = data.members
    sales = change(first.transactions.copy())
    changed = dataclasses.replace(first, transactions=sales)
    return dataclasses.replace(data, members=(changed, *others))


def setting(column, row, value):
    def change(sales):
        sales.loc[row, column] = value
        return sales

    return change


def test_good_data_pass(good):
    check_data(good)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (setting("value", 3, np.nan), "row 4, column 'value': missing"),
        (setting("value", 3, np.inf), "row 4, column 'value': inf is not finite"),
        (setting("value", 0, -0.5), "row 1, column 'value': -0.5 is below 0"),
        (setting("quantity", 7, 0.0), "row 8, column 'quantity': 0.0 is not above 0"),
        (setting("quantity", 7, -2.0), "row 8, column 'quantity': -2.0 is not above 0"),
        (setting("discount", 49, -1.0), "row 50, column 'discount': -1.0 is below 0"),
        (setting("time", 2, pd.NaT), "row 3, column 'time': missing"),
        (setting("customer", 2, -2), "row 3, column 'customer': -2 is below -1"),
        (setting("product", 5, 500), "row 6, column 'product': not in the catalogue"),
        (setting("rating", 5, -1), "row 6, column 'rating': -1 is below 0"),
        (
            lambda sales: sales.rename(columns={"quantity": "quantiy"}),
            "no column 'quantity'; the nearest is 'quantiy'",
        ),
        (lambda sales: sales.rename(columns={"basket": "xyz"}), "no column 'basket'"),
        (
            lambda sales: sales.astype({"customer": "float64"}),
            "column 'customer' holds float64, wanted int64",
        ),
        (lambda sales: sales.astype({"value": "str"}), "column 'value' holds str, wanted float64"),
        (
            lambda sales: sales.assign(time=sales["time"].dt.tz_localize("UTC")),
            "column 'time' holds datetime64[ns, UTC], wanted datetime64",
        ),
        (lambda sales: sales.iloc[:0], "tutorial: retailer-0: no transactions"),
    ],
)
def test_wrong_transactions_are_named(good, change, text):
    with pytest.raises(DataError) as caught:
        check_data(with_sales(good, change))
    assert str(caught.value).startswith("tutorial: retailer-0: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_gap_of_the_catalogue_is_not_listed(good):
    """A number between the least and the greatest product is still none of them."""
    sold = int(good.members[0].transactions["product"].max())
    products = good.products[good.products["product"] != sold]
    assert products["product"].max() > sold
    with pytest.raises(DataError, match="column 'product': not in the catalogue"):
        check_data(dataclasses.replace(good, products=products))


def test_the_first_wrong_row_is_the_one_named(good):
    wrong = with_sales(good, lambda sales: sales.assign(quantity=-1.0))
    with pytest.raises(DataError, match="row 1, column 'quantity'"):
        check_data(wrong)


def test_a_repeated_product_is_named(good):
    products = good.products.copy()
    products.loc[8, "product"] = 2
    with pytest.raises(DataError, match="catalogue: row 9, column 'product': 2 occurs twice"):
        check_data(dataclasses.replace(good, products=products))


def test_no_retailers_and_repeated_names_are_refused(good):
    with pytest.raises(DataError, match="no retailers"):
        check_data(dataclasses.replace(good, members=()))
    with pytest.raises(DataError, match="same name"):
        check_data(dataclasses.replace(good, members=(good.members[0], good.members[0])))


def test_a_repeated_profile_is_named(good):
    profiles = pd.DataFrame({"customer": [1, 2, 1]})
    member = dataclasses.replace(good.members[0], profiles=profiles)
    with pytest.raises(DataError, match="profiles: row 3, column 'customer': 1 occurs twice"):
        check_data(dataclasses.replace(good, members=(member,)))


def test_names_in_errors_are_the_files_own():
    frame = pd.DataFrame({"member": ["a"], "product": [1], "week": [1], "display": [True]})
    origin = Origin("promo.csv", {"week": "Woche", "mailer": "Beilage"})
    with pytest.raises(DataError, match=r"promo\.csv: column 'Woche' holds int64"):
        check_table(frame, PROMOTIONS, origin)
    dated = frame.assign(week=pd.Timestamp("2017-01-02"))
    with pytest.raises(DataError, match=r"promo\.csv: no column 'Beilage'"):
        check_table(dated, PROMOTIONS, origin)
