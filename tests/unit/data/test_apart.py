"""Lines judged apart, as under a privacy budget: what one customer's lines are decides nothing."""

import pytest

from securefl.config.data import FilesSettings
from securefl.data.sources.registry import load
from securefl.errors import DataError

HEADER = "customer,product,time,quantity,value\n"
GOOD = "".join(f"{n},milk,2024-03-{1 + n % 28:02d},1,1.50\n" for n in range(1, 29))
MARCH = ["2024-03-01", "2024-03-31"]
FAULTS = {
    "anonymous": ",tea,2024-03-05,1,2.00\n",
    "return": "99,tea,2024-03-05,-1,-2.00\n",
    "no day": "99,tea,2024-03-99,1,2.00\n",
    "no time": "99,tea,,1,2.00\n",
    "no number": "99,tea,2024-03-05,1,<b>x\n",
    "infinite": "99,tea,2024-03-05,1,inf\n",
    "not believed": "99,tea,2024-03-05,1e300,2.00\n",
    "nothing bought": "99,tea,2024-03-05,0,2.00\n",
    "negative": "99,tea,2024-03-05,1,-2.00\n",
    "few cells": "99,tea\n",
    "many cells": "99,tea,2024-03-05,1,2.00,x,y\n",
    "outside": "99,tea,1999-01-01,1,2.00\n",
    "another clock": "99,tea,2024-03-05T10:00:00Z,1,2.00\n99,tea,2024-03-05,1,2.00\n",
    "another decimal mark": "".join(f'99,tea,2024-03-05,1,"{n},5"\n' for n in range(99)),
    "another way of days": "".join(f"99,tea,{n}.03.2024,1,2.00\n" for n in range(13, 31)) * 9,
    "a rounded label": "5.4E+12,tea,2024-03-05,1,2.00\n",
    "all of them": ",tea,2024-03-05,1,2\n99,tea,2024-03-99,-1,x\n99\n99,tea,2024-03-05,0,0\n",
}


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "catalogue.csv").write_text("product\nmilk\ntea\n")

    def write(lines, **changes):
        (tmp_path / "north.csv").write_text(HEADER + lines)
        tree = {"root": tmp_path, "catalogue": "catalogue.csv", "period": MARCH}
        members = [{"name": "north", "transactions": "north.csv"}]
        return FilesSettings.model_validate({**tree, "members": members, **changes})

    return write


def lines_of(settings):
    frame = load(settings, apart=True).members[0].transactions
    return frame[frame["customer"] != 99].reset_index(drop=True)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_no_fault_of_a_line_touches_another(fault, shop):
    """Neither is the retailer refused, nor is any other line read otherwise."""
    expected = lines_of(shop(GOOD))
    assert len(expected) == 28
    found = lines_of(shop(GOOD + fault))
    assert found.equals(expected)


BYTES = {
    "another encoding": b"99,t\xe9a,2024-03-05,1,2.00\n",
    "half a character": b"99,tea\xc3,2024-03-05,1,2.00\n",
    "null bytes": b"99,\0\0\0,2024-03-05,1,2.00\n" * 9,
    "an open quote": b'99,"tea,2024-03-05,1,2.00\n',
    "a quote that opens late": b'99,x"y,"tea,2024-03-05,1,2.00\n',
    "a quote and more": b'99,"tea"x,2024-03-05,1,2.00\n',
    "a cell of two lines": b'99,"te\na",2024-03-05,1,2.00\n',
    "another end of line": b"99,tea,2024-03-05,1,2.00\r\n99,te\ra,2024-03-05,1,2.00\r",
    "semicolons": b"99;tea;2024-03-05;1;2.00\n" * 99,
    "a long line": b"99," + b"x" * (3 << 20) + b",2024-03-05,1,2.00\n",
}


@pytest.mark.parametrize("fault", BYTES.values(), ids=BYTES)
def test_no_bytes_of_a_line_touch_another(fault, shop, tmp_path):
    """Encoding, quotes and ends of lines are the settings', and not what one line looks like."""
    expected = lines_of(shop(GOOD))
    settings = shop("")
    half = len(GOOD) // 2
    cut = GOOD.index("\n", half) + 1
    for at in (0, cut, len(GOOD)):
        text = HEADER.encode() + GOOD[:at].encode() + fault + GOOD[at:].encode()
        (tmp_path / "north.csv").write_bytes(text)
        assert lines_of(settings).equals(expected)


@pytest.mark.parametrize(
    ("name", "written", "reason"),
    [
        ("north.jsonl", {}, "CSV, Parquet or a database"),
        ("north.csv", {"header": False}, "write the columns' names above"),
    ],
)
def test_files_read_by_all_lines_are_refused(name, written, reason, shop, tmp_path):
    """Whether there is a customer does not decide it, and the correction is named."""
    member = {"name": "north", "transactions": name, "format": written}
    settings = shop(GOOD, members=[member])
    if name != "north.csv":
        (tmp_path / name).write_text('{"customer": 1}\n')
    with pytest.raises(DataError, match=reason):
        load(settings, apart=True)


def test_refused_lines_are_still_refused_without_a_budget(shop):
    for fault in ("return", "no number", "anonymous"):
        with pytest.raises(DataError):
            load(shop(GOOD + FAULTS[fault]))


def test_one_customers_unknown_products_refuse_nobody(shop):
    """The share of lines that the catalogue does not list is a number of all customers."""
    flood = "".join(f"99,nothing {n},2024-03-05,1,2.00\n" for n in range(100))
    with pytest.raises(DataError, match="catalogue does not list"):
        load(shop(GOOD + flood))
    assert lines_of(shop(GOOD + flood)).equals(lines_of(shop(GOOD)))


def test_a_near_spelling_is_a_product_of_no_list(shop):
    found = load(shop(GOOD + "99,MILK,2024-03-05,1,2.00\n"), apart=True).members[0].transactions
    assert found.loc[found["customer"] == 99, "product"].tolist() == [-1]


@pytest.mark.parametrize("lines", ["", "99,tea,2024-03-99,1,2.00\n", "99,tea,1999-01-01,1,2.00\n"])
def test_a_retailer_of_no_line_takes_part(lines, shop):
    """Whether the only customer is there does not decide whether the retailer is."""
    settings = shop(lines, columns={"rating": None})
    found = load(settings, apart=True).members[0].transactions
    assert found.empty
    assert found.dtypes.equals(load(shop(GOOD), apart=True).members[0].transactions.dtypes)
    with pytest.raises(DataError):
        load(shop(lines))


def test_days_at_the_ends_refuse_nobody(shop):
    """One customer can be the only one who came in the last month."""
    half = {"period": ["2024-01-01", "2024-06-30"]}
    early = GOOD + "99,tea,2024-01-01,1,2.00\n"
    late = early + "99,tea,2024-06-30,1,2.00\n"
    with pytest.raises(DataError, match="customers who left"):
        load(shop(early, **half))
    assert lines_of(shop(early, **half)).equals(lines_of(shop(late, **half)))


def test_a_copy_of_a_file_is_not_told_by_its_lines(shop, tmp_path):
    """A line more in one of two copies would decide whether the other counts."""
    settings = shop(GOOD, members=[{"name": "north", "transactions": "*th.csv"}])
    (tmp_path / "south.csv").write_text(HEADER + GOOD)
    twice = lines_of(settings)
    (tmp_path / "south.csv").write_text(HEADER + GOOD + "99,tea,2024-03-05,1,2.00\n")
    assert lines_of(settings).equals(twice)
    assert len(twice) == 56


def test_a_customer_with_two_profiles_is_left_out_alone(shop, tmp_path):
    member = {"name": "north", "transactions": "north.csv", "profiles": "profiles.csv"}
    settings = shop(GOOD, members=[member])
    (tmp_path / "profiles.csv").write_text("customer,age\n1,old\n2,young\n")
    expected = load(settings, apart=True).members[0].profiles
    (tmp_path / "profiles.csv").write_text("customer,age\n99,old\n1,old\n2,young\n99,young\n")
    assert load(settings, apart=True).members[0].profiles.equals(expected)
    with pytest.raises(DataError, match="twice"):
        load(settings)
