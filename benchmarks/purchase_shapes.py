"""Shapes of purchases that decide what a recommender can learn: how much, what, together, when.

All retailers' customers side by side, products of the assortment alone. Drawn purchases are fitted
to the same numbers of real ones (`retailer_data.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from securefl.data.tables import RetailData
from securefl.tasks.common.purchase_lines import buyers
from securefl.tasks.recommendation.task import LEVELS

QUANTILES = (0.1, 0.5, 0.9)
HEADS = (0.001, 0.01, 0.1, 0.5)
"""Shares of the products whose share of all pairs of customer and product is shown."""
POPULAR = 1000
"""Co-purchases are counted among so many products, those that most customers bought."""
EXPECTED = 5.0
"""A pair's lift is a figure of its own if chance alone would make so many customers buy both."""
Shapes = dict[str, float]


def shapes(data: RetailData, least: int = 20, customers: int = 20) -> Shapes:
    """The shapes of purchases of products that `least` customers bought.

    Only customers with so many different products count, as in the task `recommendation`.
    """
    found = buyers(data)
    kept = found.index[found >= least].to_numpy()
    lines = pd.concat([_lines(m.transactions, kept, n) for n, m in enumerate(data.members)])
    pairs = lines.drop_duplicates(["customer", "product"])
    active = pairs.groupby("customer").size()
    lines = lines[lines["customer"].isin(active.index[active >= customers])]
    pairs = lines.drop_duplicates(["customer", "product"])
    shown = dict(_sizes(lines, pairs)) | dict(_heads(pairs))
    return shown | dict(_together(pairs, data.products)) | dict(_elsewhere(lines, pairs))


def _lines(transactions: pd.DataFrame, kept: np.ndarray, retailer: int) -> pd.DataFrame:
    lines = transactions.loc[
        transactions["product"].isin(kept) & (transactions["customer"] >= 0),
        ["customer", "basket", "product", "time"],
    ]
    own = lines.assign(retailer=retailer).drop_duplicates(["customer", "basket", "product"])
    # The same number at two retailers is two customers, as it is two baskets.
    return own.assign(
        customer=own["customer"] * 1000 + retailer, basket=own["basket"] * 1000 + retailer
    )


def _sizes(lines: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[tuple[str, float]]:
    counted = {
        "baskets a customer": lines.groupby("customer")["basket"].nunique(),
        "products a basket": lines.groupby("basket").size(),
        "products a customer": pairs.groupby("customer").size(),
    }
    for name, values in counted.items():
        for share in QUANTILES:
            yield f"{name}, {share:.0%}", float(values.quantile(share))
    yield "lines that repeat", 1 - len(pairs) / len(lines)


def _heads(pairs: pd.DataFrame) -> Iterator[tuple[str, float]]:
    counts = np.sort(pairs["product"].value_counts().to_numpy())[::-1]
    for share in HEADS:
        head = max(round(share * len(counts)), 1)
        yield f"pairs with the first {share:.1%}", float(counts[:head].sum() / counts.sum())


def _together(pairs: pd.DataFrame, products: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Co-purchases over those by chance, customers' numbers of products given."""
    top = pairs["product"].value_counts().index[:POPULAR].to_numpy()
    rows = np.unique(pairs["customer"], return_inverse=True)[1]
    activity = np.bincount(rows).astype(float)
    inside = pairs["product"].isin(top).to_numpy()
    column = pd.Index(top).get_indexer(pairs["product"][inside])
    bought = csr_matrix((np.ones(inside.sum()), (rows[inside], column)))
    counts = (bought.T @ bought).toarray()
    chance = np.square(activity).sum() / activity.sum() ** 2
    expected = np.outer(counts.diagonal(), counts.diagonal()) * chance
    upper = np.triu(np.ones_like(counts, dtype=bool), 1)
    rest = upper.copy()
    names = products.set_index("product").reindex(top)
    for level in LEVELS[::-1]:
        codes = pd.factorize(names[level])[0]
        same = rest & (codes[:, None] == codes[None, :])
        yield f"co-purchases over chance, same {level}", _over(counts, expected, same)
        rest &= ~same
    yield "co-purchases over chance, other departments", _over(counts, expected, rest)
    many = upper & (expected >= EXPECTED)
    for share in (0.01, 0.5, 0.99):
        value = np.quantile(counts[many] / expected[many], share)
        yield f"co-purchases over chance, pairs at {share:.0%}", float(value)


def _over(counts: np.ndarray, expected: np.ndarray, chosen: np.ndarray) -> float:
    return float(counts[chosen].sum() / expected[chosen].sum())


def _elsewhere(lines: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """How alike two halves of the year, and two retailers, are."""
    middle = lines["time"].min() + (lines["time"].max() - lines["time"].min()) / 2
    halves = [half["product"].value_counts() for _, half in lines.groupby(lines["time"] > middle)]
    yield "correlation of popularity, halves of the year", _alike(*halves)
    sold = [part["product"].value_counts() for _, part in pairs.groupby("retailer")]
    found = [_alike(one, two) for n, one in enumerate(sold) for two in sold[n + 1 :]]
    if found:
        yield "correlation of popularity, two retailers", float(np.mean(found))


def _alike(one: pd.Series, two: pd.Series) -> float:
    """Correlation of logarithms over products that both sold, each ten times or more."""
    both = pd.concat([one, two], axis=1).dropna().to_numpy()
    both = np.log(both[(both >= 10).all(axis=1)])
    return float(np.corrcoef(both.T)[0, 1])
