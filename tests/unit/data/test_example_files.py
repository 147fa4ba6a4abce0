"""Files to try a consortium with: they read as a retailer's own, and nothing is overwritten."""

from datetime import date

import pandas as pd
import pytest

from securefl.data.sources.synthetic.example_files import write_example
from securefl.errors import InputError

FIRST = date(2025, 1, 6)


def test_retailers_share_a_catalogue_and_no_sale(tmp_path):
    places = write_example(tmp_path, ("north", "south"), FIRST, 20, 0)
    catalogues = {(place / "catalogue.csv").read_bytes() for place in (tmp_path, *places)}
    assert len(catalogues) == 1
    north, south = (pd.read_csv(place / "sales.csv") for place in places)
    assert not north.equals(south)
    days = pd.to_datetime(north["time"]).dt.date
    assert (days.min(), days.max()) == (FIRST, date(2025, 1, 25))
    assert set(north["product"]) <= set(pd.read_csv(tmp_path / "catalogue.csv")["product"])
    assert north.groupby("basket")["customer"].nunique().eq(1).all()


def test_a_seed_gives_the_same_files_again(tmp_path):
    made = [write_example(tmp_path / name, ("north",), FIRST, 14, 3) for name in "ab"]
    first, again = ((place / "sales.csv").read_bytes() for (place,) in made)
    assert first == again
    ((other,),) = [write_example(tmp_path / "c", ("north",), FIRST, 14, 4)]
    assert (other / "sales.csv").read_bytes() != first


def test_what_is_there_is_not_touched(tmp_path):
    (tmp_path / "south").mkdir()
    (tmp_path / "south" / "sales.csv").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        write_example(tmp_path, ("north", "south"), FIRST, 14, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["south"]
