"""Sufficient statistics of elasticities by customer, from own purchases and the price list alone.

Given how often a customer buys a product, and in which weeks they shop, the weeks of purchase show
their price sensitivity: units bought are Poisson with mean `a_ji e_jt exp(b_c x_it)`, a_ji being
the customer's preference for product i, e_jt their visits in week t, x_it the log price and b_c
the elasticity of its category. Conditional on their total of i, a_ji cancels
(fixed-effects Poisson; Hausman, Hall and Griliches 1984, section 2), and busy weeks count as many
visits. The estimate is consistent even where counts are not Poisson (Wooldridge 1999), and weeks
without a purchase count.

At a reference elasticity r the score and the information of b_c are sums over their units,

    g_jc = sum u_jit (x_it - m_ji),    h_jc = sum u_jit v_ji,

m_ji and v_ji being mean and variance of x_i over their weeks under weights `e_jt exp(r x_it)`. Both
are sums over customers, and one Newton step `r + g_c / h_c` from a near r is as good as the maximum
of the likelihood (Le Cam 1956; van der Vaart 1998, section 5.7).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securefl.tasks.demand.series import Floats, Ints
from securefl.tasks.pricing.price_list import Lines, PriceList, added

_CHUNK: Final = 1 << 14
"""Lines whose weighted prices are in memory at once."""


def customer_statistics(
    lines: Lines, prices: PriceList, training: int, categories: int, reference: float
) -> tuple[Floats, Floats]:
    """Return score and information of each category's elasticity, float64 [n, K] each.

    A customer's row depends on their own lines and on the price list alone.

    Args:
        lines: One retailer's lines.
        prices: Its price list.
        training: Number of training weeks; later lines are not used.
        categories: Number of categories K.
        reference: r.
    """
    early = lines.week < training
    customers, owner = np.unique(lines.customer[early], return_inverse=True)
    visits = _visits(owner, lines.week[early], lines.basket[early], (len(customers), training))
    row = prices.rows(lines.product[early])
    priced = row >= 0
    owner, row = owner[priced], row[priced]
    week, units = lines.week[early][priced], lines.units[early][priced]
    mean, variance = _moments(visits, prices.relative[:, :training], reference, owner, row)
    cell = owner * categories + prices.category[row]
    shape = (len(customers), categories)
    parts = (units * (prices.relative[row, week] - mean), units * variance)
    score, information = (added(cell, part, shape) for part in parts)
    return score, information


def bounded(score: Floats, information: Floats, influence: float) -> Floats:
    """Clip each customer's statistics to norm `influence`, float64 [n, 2 K + 1].

    Score, information, and the squared norm of the score, scaled by `1 / (4 influence)` so that it
    adds little to the norm. A customer who is scaled down counts less in all of them, so that their
    ratios stay what they are.
    """
    norms = np.sqrt(np.square(score).sum(axis=1) + np.square(information).sum(axis=1))
    factor = (influence / np.maximum(norms, influence))[:, None]
    score, information = score * factor, information * factor
    dispersion = np.square(score).sum(axis=1, keepdims=True) / (4 * influence)
    return np.concatenate([score, information, dispersion], axis=1)


def _visits(owner: Ints, week: Ints, basket: Ints, shape: tuple[int, int]) -> Floats:
    """Return baskets by customer and week, float64 [n, T]."""
    trips = np.unique(np.stack([owner, week, basket]), axis=1)
    cells = trips[0] * shape[1] + trips[1]
    return added(cells, np.ones(len(cells)), shape)


def _moments(
    visits: Floats, relative: Floats, reference: float, owner: Ints, row: Ints
) -> tuple[Floats, Floats]:
    """Return mean and variance of product `row`'s price over `owner`'s weeks, float64 [L]."""
    weights = np.exp(reference * relative)
    powers = [weights, weights * relative, weights * relative**2]
    mean, variance = np.zeros(len(owner)), np.zeros(len(owner))
    for start in range(0, len(owner), _CHUNK):
        here = slice(start, start + _CHUNK)
        # Row by row: a matrix product may round a customer's sums differently beside others.
        total, first, second = (
            np.einsum("lt,lt->l", visits[owner[here]], power[row[here]]) for power in powers
        )
        mean[here] = first / total
        variance[here] = np.maximum(second / total - (first / total) ** 2, 0.0)
    return mean, variance
