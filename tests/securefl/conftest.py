"""Small runs on generated data, quick enough to be made often."""

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run

SMALL_DEMAND = {
    "task": "demand",
    "rounds": 3,
    "data": {"source": "tutorial", "table": "demand", "products": 6, "days": 160},
    "training": {"batch_size": 64, "local_epochs": 2},
    "references": {"enabled": False},
    "engine": {"workers": 1},
}
SMALL_RATINGS = {
    "task": "recommendation",
    "rounds": 3,
    "data": {
        "source": "tutorial",
        "customers": 60,
        "items": 40,
        "interactions": [300, 600],
    },
    "model": {"name": "rating-ncf", "dim": 8, "hidden": 16},
    "references": {"enabled": False},
    "engine": {"workers": 1},
}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def purchases(tmp_path_factory):
    """Four retailers' own files, generated; the configuration of a ranking run on them."""
    folder = tmp_path_factory.mktemp("purchases")
    rng = np.random.default_rng(7)
    products = pd.DataFrame(
        {
            "product": np.arange(100, 140),
            "department": [f"department {n % 3}" for n in range(40)],
            "category": [f"category {n % 8}" for n in range(40)],
        }
    )
    products.to_csv(folder / "catalogue.csv", index=False)
    members = []
    for name in ("north", "south", "west", "east"):
        baskets = np.repeat(np.arange(240), 4)
        frame = pd.DataFrame(
            {
                "customer": rng.integers(0, 24, 240)[baskets],
                "product": 100 + (40 * rng.power(0.7, baskets.size)).astype(int),
                "time": pd.Timestamp("2026-01-05") + pd.to_timedelta(baskets * 6, unit="h"),
                "quantity": rng.integers(1, 4, baskets.size),
                "value": 2.5,
                "basket": baskets,
            }
        )
        frame.to_csv(folder / f"{name}.csv", index=False)
        members.append({"name": name, "transactions": f"{name}.csv"})
    return {
        "task": "recommendation",
        "rounds": 3,
        "data": {
            "source": "files",
            "root": str(folder),
            "catalogue": "catalogue.csv",
            "catalogue_columns": {"department": "department", "category": "category"},
            "members": members,
        },
        "model": {"name": "mf", "dim": 8},
        "recommendation": {"min_households": 3, "min_products": 4, "negatives": 9},
        "references": {"enabled": False},
        "engine": {"workers": 1},
    }


@pytest.fixture
def small_config(purchases):
    """Makes the configuration of a small run of a kind, changed as wanted."""
    kinds = {"demand": SMALL_DEMAND, "ratings": SMALL_RATINGS, "purchases": purchases}

    def make(kind="demand", **changes):
        return load_config(None, merge(kinds[kind], changes))

    return make


@pytest.fixture
def small_run(tmp_path, small_config):
    """Makes a small run; returns its result and its directory."""

    def make(name="run", kind="demand", **changes):
        directory = RunDirectory.create(tmp_path / name, small_config(kind, **changes))
        return run(directory), directory

    return make
