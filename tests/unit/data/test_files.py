"""The retailers' own files: mapped columns, labels instead of numbers, and every bad input."""

import datetime as dt

import pandas as pd
import pytest
from pydantic import ValidationError

from securefl.config.data import FilesSettings
from securefl.data.describe import describe
from securefl.data.sources.registry import load
from securefl.errors import DataError, InputError

CATALOGUE = "sku,dept\nmilk,dairy\n00017,\nrye bread,bakery\n"
NORTH = """card,sku,when,units,paid
K-1,milk,2024-03-04 09:00:00,2,1.80
K-1,rye bread,2024-03-04 09:00:00,1,3.20
K-2,00017,2024-03-05,1,0
12,caviar,2024-03-06T10:15:00,1.5,40
"""
COLUMNS = {
    "customer": "card",
    "product": "sku",
    "time": "when",
    "quantity": "units",
    "value": "paid",
}


@pytest.fixture
def shop(tmp_path):
    """A folder with a catalogue and two members, one in CSV and one in Parquet."""
    (tmp_path / "catalogue.csv").write_text(CATALOGUE)
    (tmp_path / "north.csv").write_text(NORTH)
    south = pd.DataFrame(
        {
            "card": [12, 13],
            "sku": ["milk", "tea"],
            "when": [dt.date(2024, 3, 4), dt.date(2024, 3, 5)],
            "units": [1, 2],
            "paid": [0.9, 1.0],
        }
    )
    south.to_parquet(tmp_path / "south.parquet")
    return tmp_path


def settings(folder, **changes):
    options = {
        "root": folder,
        "catalogue": "catalogue.csv",
        "catalogue_columns": {"product": "sku", "department": "dept"},
        "columns": COLUMNS,
        "members": [
            {"name": "north", "transactions": "north.csv"},
            {"name": "south", "transactions": "south.parquet"},
        ],
    }
    return FilesSettings.model_validate({**options, **changes})


def sales(folder, number=0, **changes):
    return load(settings(folder, **changes)).members[number].transactions


def problem(folder, **changes):
    with pytest.raises(InputError) as caught:
        load(settings(folder, **changes))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_products_are_numbered_in_the_catalogues_order(shop):
    products = load(settings(shop)).products
    assert products["product"].tolist() == [0, 1, 2, -1]
    assert products["label"].tolist() == ["milk", "00017", "rye bread", ""]
    assert products["department"].tolist() == ["dairy", "", "bakery", ""]
    assert products["brand"].tolist() == ["", "", "", ""]


def test_unknown_products_are_out_of_vocabulary(shop):
    data = load(settings(shop))
    assert data.members[0].transactions["product"].tolist() == [0, 2, 1, -1]
    assert data.members[1].transactions["product"].tolist() == [0, -1]
    assert [member.products for member in describe(data).members] == [3, 1]


def test_equal_customers_are_equal_at_both_members(shop):
    data = load(settings(shop))
    north, south = (member.transactions["customer"] for member in data.members)
    assert north.iloc[3] == south.iloc[0] == 12
    assert north.iloc[0] == north.iloc[1] != north.iloc[2]
    assert north.min() >= 0
    assert describe(data).shared_customers == 1


def test_one_visit_a_day_is_a_basket_where_there_is_no_receipt(shop):
    basket = sales(shop)["basket"].tolist()
    assert basket[0] == basket[1]
    assert len(set(basket)) == 3


def test_receipts_and_discounts_are_read_where_mapped(shop):
    (shop / "north.csv").write_text(
        "card,sku,when,units,paid,bon,off\nA,milk,2024-03-04,1,2,R7,.5\n"
    )
    columns = {**COLUMNS, "basket": "bon", "discount": "off"}
    members = [{"name": "north", "transactions": "north.csv", "columns": columns}]
    frame = sales(shop, members=members)
    assert frame["discount"].tolist() == [0.5]
    assert frame["basket"].iloc[0] > 2**32


def test_a_unit_price_is_multiplied_by_the_quantity(shop):
    columns = {key: name for key, name in COLUMNS.items() if key != "value"} | {"price": "paid"}
    assert sales(shop, columns=columns)["value"].tolist() == [3.6, 3.2, 0.0, 60.0]


def test_a_folder_of_files_is_one_member(shop):
    (shop / "many").mkdir()
    rows = NORTH.splitlines(keepends=True)
    (shop / "many" / "b.csv").write_text(rows[0] + rows[1])
    pd.read_csv(shop / "north.csv").iloc[1:].to_parquet(shop / "many" / "a.parquet")
    frame = sales(shop, members=[{"name": "north", "transactions": "many"}])
    pd.testing.assert_frame_equal(frame, sales(shop))


def test_a_link_back_into_a_folder_is_refused(shop):
    """Two of them would be as many files as there are ways through them."""
    (shop / "many").mkdir()
    (shop / "many" / "a.csv").write_text(NORTH)
    (shop / "many" / "again").symlink_to(shop / "many")
    members = [{"name": "north", "transactions": "many"}]
    assert "again: a link to a folder" in problem(shop, members=members)


def test_ratings_are_read_as_classes(shop):
    (shop / "north.csv").write_text("card,sku,when,units,paid,stars\nA,milk,2024-03-04,1,0,4\n")
    members = [{"name": "north", "transactions": "north.csv"}]
    columns = {**COLUMNS, "rating": "stars"}
    assert sales(shop, members=members, columns=columns)["rating"].tolist() == [4]
    (shop / "north.csv").write_text("card,sku,when,units,paid,stars\nA,milk,2024-03-04,1,0,3.5\n")
    assert "row 1, column 'stars': 3.5 is not an integer" in problem(
        shop, members=members, columns=columns
    )


def test_profiles_browsing_and_promotions_are_read(shop):
    (shop / "profiles.csv").write_text("customer,age\nK-1,30\n12,\n")
    (shop / "seen.csv").write_text("customer,product,time\nK-1,milk,2024-03-01\n")
    (shop / "promo.csv").write_text(
        "member,product,week,display,mailer\n"
        "north,milk,2024-03-06,true,0\nnorth,milk,2024-03-04,FALSE,1\nsouth,caviar,2024-03-04,0,1\n"
    )
    north = {"name": "north", "transactions": "north.csv"}
    north |= {"profiles": "profiles.csv", "browsing": "seen.csv"}
    south = {"name": "south", "transactions": "south.parquet"}
    data = load(settings(shop, members=[north, south], promotions="promo.csv"))
    assert data.members[0].profiles["customer"].iloc[1] == 12
    assert data.members[0].browsing["product"].tolist() == [0]
    assert list(data.members[0].browsing) == ["customer", "product", "time"]
    assert data.promotions["week"].tolist() == [pd.Timestamp("2024-03-04")] * 2
    assert data.promotions[["display", "mailer"]].to_numpy().tolist() == [
        [True, True],
        [False, True],
    ]


def test_events_of_browsing_keep_their_names(shop):
    (shop / "seen").mkdir()
    (shop / "seen" / "clicks.csv").write_text("customer,product,time\nK-1,milk,2024-03-01\n")
    (shop / "seen" / "mail.csv").write_text(
        "event,customer,product,time\nmailing,K-1,none,2024-03-02\n"
    )
    north = {"name": "north", "transactions": "north.csv", "browsing": "seen"}
    south = {"name": "south", "transactions": "south.parquet"}
    browsing = load(settings(shop, members=[north, south])).members[0].browsing
    assert browsing["event"].tolist() == ["view", "mailing"]
    assert browsing["product"].tolist() == [0, -1]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("K-1,milk,2024-03-04,-1,1", "row 5, column 'units': -1.0 is not above 0"),
        ("K-1,milk,2024-03-04,0,1", "row 5, column 'units': 0.0 is not above 0"),
        ("K-1,milk,2024-03-04,two,1", "row 5, column 'units': 'two' is not a number"),
        ("K-1,milk,2024-03-04,,1", "row 5, column 'units': missing"),
        ("K-1,milk,2024-03-04,1,NaN", "row 5, column 'paid': 'NaN' is not a number"),
        ("K-1,milk,2024-03-04,1,", "row 5, column 'paid': missing"),
        ("K-1,milk,2024-03-04,1,-0.1", "row 5, column 'paid': -0.1 is below 0"),
        ("K-1,milk,2024-03-04,1,inf", "row 5, column 'paid': inf is not finite"),
        ("K-1,milk,04.03.2024,1,1", "row 5, column 'when': '04.03.2024' is not a date or time"),
        ("K-1,milk,,1,1", "row 5, column 'when': missing"),
        (",milk,2024-03-04,1,1", "row 5, column 'card': missing"),
        ("  ,milk,2024-03-04,1,1", "row 5, column 'card': missing"),
        ("K-1,,2024-03-04,1,1", "row 5, column 'sku': missing"),
        ("K-1,milk,2024-03-04,1", "cannot be read: CSV parse error"),
    ],
)
def test_a_bad_row_is_named(shop, row, text):
    with (shop / "north.csv").open("a") as file:
        file.write(row + "\n")
    message = problem(shop)
    assert message.startswith(str(shop / "north.csv"))
    assert text in message


def test_a_missing_price_in_parquet_is_named(shop):
    frame = pd.read_parquet(shop / "south.parquet")
    frame.loc[1, "paid"] = float("nan")
    frame.to_parquet(shop / "south.parquet")
    assert "south.parquet: row 2, column 'paid': missing" in problem(shop)


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        ("card", [2.0, 1.5], "row 2, column 'card': 1.5 is a fraction, wanted text or integers"),
        ("card", [b"x", b"y"], "column 'card' holds bytes, wanted text or integers"),
        ("when", [20240304, 20240305], "column 'when' holds int64, wanted dates or times"),
        ("units", [True, True], "column 'units' holds bool, wanted numbers"),
        ("units", [dt.datetime(2024, 1, 1)] * 2, "wanted numbers"),  # noqa: DTZ001
    ],
)
def test_a_wrong_dtype_is_named(shop, column, values, text):
    frame = pd.read_parquet(shop / "south.parquet")
    frame[column] = values
    frame.to_parquet(shop / "south.parquet")
    assert text in problem(shop)


def test_a_wrong_column_is_named_with_the_nearest(shop):
    (shop / "north.csv").write_text(NORTH.replace("units", "unit"))
    assert "north.csv: no column 'units'; the nearest is 'unit'" in problem(shop)


def test_two_columns_of_one_name_are_refused(shop):
    (shop / "north.csv").write_text(NORTH.replace("paid", "units"))
    assert "two columns are called 'units'" in problem(shop)


@pytest.mark.parametrize(
    ("content", "text"),
    [("", "cannot be read"), (NORTH.splitlines(keepends=True)[0], "no transactions")],
)
def test_an_empty_member_is_refused(shop, content, text):
    (shop / "north.csv").write_text(content)
    assert text in problem(shop)


def test_catalogues_that_say_nothing_or_the_same_twice_are_refused(shop):
    (shop / "catalogue.csv").write_text(CATALOGUE + "milk,dairy\n")
    assert "catalogue.csv: row 4, column 'sku': milk occurs twice" in problem(shop)
    (shop / "catalogue.csv").write_text("sku,dept\n")
    assert "no products" in problem(shop)


def test_files_that_are_not_there_are_named(shop):
    gone = [{"name": "north", "transactions": "gone.csv"}]
    assert "gone.csv: no such file" in problem(shop, members=gone)
    (shop / "empty").mkdir()
    empty = [{"name": "north", "transactions": "empty"}]
    assert "no CSV or Parquet file in this folder" in problem(shop, members=empty)
    (shop / "north.doc").write_text("")
    sheet = [{"name": "north", "transactions": "north.doc"}]
    assert "neither .csv nor .parquet" in problem(shop, members=sheet)
    (shop / "north.doc").unlink()
    assert "the catalogue is one file" in problem(shop, catalogue=".")


def test_promotions_of_strangers_and_odd_flags_are_refused(shop):
    header = "member,product,week,display,mailer\n"
    (shop / "promo.csv").write_text(header + "east,milk,2024-03-04,1,0\n")
    assert "promo.csv: row 1, column 'member': 'east' is no member" in problem(
        shop, promotions="promo.csv"
    )
    (shop / "promo.csv").write_text(header + "north,milk,2024-03-04,yes,0\n")
    assert "row 1, column 'display': 'yes' is neither true nor false" in problem(
        shop, promotions="promo.csv"
    )


def test_mixed_time_zones_are_refused_and_one_is_cut_off(shop):
    """An offset over a clock change is the shop's clock all the same."""
    text = "card,sku,when,units,paid\nA,milk,2024-03-04T09:00:00+01:00,1,1\n"
    north = {"members": [{"name": "north", "transactions": "north.csv"}]}
    (shop / "north.csv").write_text(text)
    assert sales(shop)["time"].iloc[0] == pd.Timestamp("2024-03-04 09:00")
    (shop / "north.csv").write_text(text + "A,milk,2024-07-04T09:00:00+02:00,1,1\n")
    assert sales(shop, **north)["time"].iloc[1] == pd.Timestamp("2024-07-04 09:00")
    (shop / "north.csv").write_text(text + "A,milk,2024-07-04T09:00:00,1,1\n")
    assert "column 'when' mixes time zones" in problem(shop, **north)


def test_settings_that_contradict_themselves_are_refused(shop):
    with pytest.raises(ValidationError, match="either value or price"):
        settings(shop, columns={**COLUMNS, "price": "paid"})
    with pytest.raises(ValidationError, match="same name"):
        settings(shop, members=[{"name": "a", "transactions": "x.csv"}] * 2)
    with pytest.raises(ValidationError, match="Extra inputs"):
        settings(shop, catalog="x.csv")


def test_errors_of_values_are_data_errors(shop):
    (shop / "north.csv").write_text(NORTH.replace("1.80", "-1"))
    with pytest.raises(DataError):
        load(settings(shop))
