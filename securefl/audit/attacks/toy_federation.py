"""A small federation for attribute inference from embedding rows.

Every retailer sells its own half of the products, and the whole model of the tutorial is shared. A
row of the product embedding changes at a retailer only if the product was bought there. That is the
most direct leak of an update, so each protection is evaluated on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from securefl.config.load import load_config
from securefl.config.schema import Mode
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.batches import all_units
from securefl.ml.parameters import shared_parameters
from securefl.ml.seeds import derive_seed

PRODUCTS = "products.weight"


@dataclass(frozen=True)
class Bought:
    """Ground truth of the attacked retailer.

    Attributes:
        sold: Products that were bought there, bool [I].
        rare: Products with exactly one rating, whose row changes for a single record, bool [I].
    """

    sold: npt.NDArray[np.bool_]
    rare: npt.NDArray[np.bool_]


def federation(mode: Mode, seed: int) -> Prepared:
    """Return four retailers with 200 customers each and half of 400 products."""
    options = {
        "task": "recommendation",
        "mode": mode,
        "rounds": 1,
        "seed": seed,
        "data": {
            "source": "tutorial",
            "retailers": 4,
            "customers": 200,
            "items": 400,
            "interactions": [1500, 2000],
            "seed": seed,
        },
        "model": {"name": "rating-ncf", "dim": 8, "hidden": 16},
        "references": {"enabled": False},
        "engine": {"workers": 1},
    }
    config = load_config(None, options)
    return prepare_data(config, _own_halves(load(config.data), seed))


def _own_halves(data: RetailData, seed: int) -> RetailData:
    members = []
    for tables in data.members:
        rng = np.random.default_rng(derive_seed(seed, "assortment", tables.name))
        sells = data.products["product"][rng.random(len(data.products)) < 0.5]
        lines = tables.transactions[tables.transactions["product"].isin(sells)]
        members.append(RetailerTables(tables.name, lines.reset_index(drop=True)))
    return replace(data, members=tuple(members))


def bought(prepared: Prepared) -> Bought:
    """Return the ground truth of the first retailer, which is the attacked one."""
    product = all_units(prepared.members[0].examples)[1].numpy()
    ratings = np.bincount(product, minlength=len(_table(prepared)))
    return Bought(ratings > 0, ratings == 1)


def row_norms(prepared: Prepared, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the norm of each product row, float64 [I], in an update, float64 [d]."""
    start = 0
    for name, parameter in shared_parameters(prepared.task.model(prepared.facts, 0)).items():
        end = start + parameter.numel()
        if name == PRODUCTS:
            norms: npt.NDArray[np.float64] = np.linalg.norm(
                vector[start:end].reshape(parameter.shape), axis=1
            )
            return norms
        start = end
    raise ValueError("the model has no table of products")


def _table(prepared: Prepared) -> Tensor:
    return shared_parameters(prepared.task.model(prepared.facts, 0))[PRODUCTS]
