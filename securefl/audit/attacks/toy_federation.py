"""A small federation for the attack on embedding rows: the tutorial's network, own assortments.

Every retailer sells half of the products, and the whole model is shared, as in the tutorial: a row
of the product table moves at a retailer only if a product of it was bought there. That is the
clearest leak that an update can have, so it is what each protection is held against.
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
    """What really happened at the attacked retailer.

    Attributes:
        sold: Which products were bought there at all, bool [I].
        rare: Which have exactly one rating, so that a row moved for one record alone, bool [I].
    """

    sold: npt.NDArray[np.bool_]
    rare: npt.NDArray[np.bool_]


def federation(mode: Mode, seed: int) -> Prepared:
    """Four retailers with 200 customers each and half of 400 products."""
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
    """The truth about the first retailer, the one that is attacked."""
    product = all_units(prepared.members[0].examples)[1].numpy()
    ratings = np.bincount(product, minlength=len(_table(prepared)))
    return Bought(ratings > 0, ratings == 1)


def row_norms(prepared: Prepared, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each product's row moved, float64 [I], in an update (float64 [d])."""
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
