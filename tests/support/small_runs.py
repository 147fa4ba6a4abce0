"""Small runs on generated data, quick enough to be made often."""

import numpy as np
import pandas as pd

from securefl.config.load import load_config

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
NETWORK_MEMBERS = tuple(f"retailer-{number}" for number in range(4))


def purchases_in(folder):
    """Four retailers' own files, generated; the configuration of a ranking run on them."""
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
            "rules": {"known_customers": ["0"]},
            "period": ["2026-01-05", "2026-03-05"],
        },
        "model": {"name": "mf", "dim": 8},
        "recommendation": {"min_households": 1, "min_products": 4, "negatives": 9},
        "references": {"enabled": False},
        "engine": {"workers": 1},
    }


PRIVATE_PROFILE = {
    "mode": "plain",
    "model": {"name": "profile", "rank": 2, "own": {"rounds": 1, "factorization": {"dim": 4}}},
    "privacy": {
        "dp": "local",
        "epsilon": 3.0,
        "delta": 1e-3,
        "sampling_rate": 1.0,
        "expected_batch": 20.0,
        "steps": 2,
    },
}
"""Changes to a small run on purchases: local noise on the model with a private training."""


def network_config(mode="secure", **changes):
    """The configuration of a small run of four retailers over a broker."""
    return load_config(
        None,
        {
            "task": "recommendation",
            "mode": mode,
            "rounds": 3,
            "seed": 5,
            "data": {
                "source": "tutorial",
                "retailers": 4,
                "customers": 60,
                "items": 40,
                "interactions": [300, 600],
            },
            "model": {"name": "rating-ncf", "dim": 8, "hidden": 16},
            **changes,
        },
    )
