from functools import cache

import pandas as pd
import pytest

from support.carried import carried, tree_of
from support.small_runs import purchases_in


@pytest.fixture(scope="session")
def held(tmp_path_factory):
    """Makes the model of a task that a member holds, once."""

    @cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        return carried(folder, tree_of(name, folder))

    return make


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A member whose customers and products have names, and its model."""
    folder = tmp_path_factory.mktemp("shop")
    tree = purchases_in(folder)
    for path in folder.glob("*.csv"):
        table = pd.read_csv(path)
        table["product"] = [f"p-{one}" for one in table["product"]]
        if "customer" in table:
            table["customer"] = [f"c-{one}" for one in table["customer"]]
        table.to_csv(path, index=False)
    return carried(folder, tree)
