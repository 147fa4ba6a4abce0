"""The released model alone: a retailer that took no part serves its customers with it."""

import pandas as pd
import pytest

from securefl.errors import InputError
from securefl.ml.parameters import shared_vector
from securefl.tasks.served.model import open_model
from securefl.tasks.served.writing import Provenance, write_released_model

VERBS = {
    "recommendation": {"customer", "rank", "product", "score", "basis"},
    "hybrid": {"customer", "rank", "product", "score", "basis"},
    "content": {"customer", "rank", "product", "score", "basis"},
    "sequential": {"customer", "rank", "product", "score", "basis"},
    "transfer": {"customer", "rank", "product", "score", "basis"},
    "demand": {"series", "period_start", "forecast", "lower", "upper"},
    "inventory": {"series", "period_start", "order_up_to"},
    "pricing": {"product", "price", "elasticity"},
    "churn": {"customer", "probability", "as_of", "until"},
}
SLOW = [
    pytest.param(name, marks=() if name == "recommendation" else pytest.mark.slow) for name in VERBS
]


def given_away(found, folder):
    """The released folder of a model."""
    write_released_model(
        folder,
        found.prepared.config,
        found.prepared.facts,
        shared_vector(found.model),
        vocabulary=found.prepared.vocabulary,
        provenance=Provenance(("a", "b"), "AAAA BBBB", bytes(32), "none."),
    )
    return folder


@pytest.mark.parametrize("name", SLOW)
def test_a_retailer_serves_it_with_its_own_data(name, held, tmp_path):
    """Of every task: another retailer's data, none of whose customers the folder knows."""
    found = held(name)
    folder = given_away(found, tmp_path / "released")
    other = found.prepared.members[1].name
    model = open_model(folder, found.prepared.config, other)
    assert model.manifest.member == other
    listed = model.predict()
    assert len(listed) > 1
    assert VERBS[name] <= set(listed.columns)
    if "basis" in listed:
        assert set(listed["basis"]) == {"history"}
    assert model.evaluate().keys() == found.closing().keys()


def test_lists_from_a_table_of_purchases(shop, tmp_path):
    """Labels are the agreed ones; a customer without purchases has what is popular here."""
    folder = given_away(shop, tmp_path / "released")
    lines = pd.read_csv(shop.folder.parent / "south.csv")
    lines = lines[["customer", "product", "time", "basket"]]
    model = open_model(folder, lines)
    lists = model.recommend(["c-3", "somebody new"], k=5)
    assert lists["basis"].tolist() == ["history"] * 5 + ["popular"] * 5
    assert set(lists["product"]) <= {f"p-{n}" for n in range(100, 140)}


def test_what_a_released_model_needs_is_one_line(shop, tmp_path):
    folder = given_away(shop, tmp_path / "released")
    with pytest.raises(InputError, match="released shared model alone"):
        open_model(folder)
    with pytest.raises(InputError, match="several retailers"):
        open_model(folder, shop.prepared.config)
    with pytest.raises(InputError, match="give a configuration"):
        open_model(folder, shop.folder.parent / "south.csv")
    few = pd.DataFrame({"customer": ["c-1"], "product": ["p-101"], "time": ["2026-01-07"]})
    with pytest.raises(InputError, match="too few to serve"):
        open_model(folder, few)
    with pytest.raises(InputError, match="serves no other retailer"):
        open_model(shop.folder, member="south")
