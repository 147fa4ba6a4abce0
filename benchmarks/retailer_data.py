"""Drawn purchases of retailers of any size: a long tail, shared tastes, assortments in part alike.

A customer is a mixture of a few of `tastes` ways to shop (as topics are in Blei, Ng and Jordan
2003), each a distribution over all products that differs from the common popularity by department,
category, kind and product. Lines are bought again in proportion to how often they were bought
before; popularity drifts by months; a retailer sells a part of all products, and has preferences of
its own. The constants are fitted to the Complete Journey (`retailer_fit.py` shows how well). No
line is of a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.tables import RetailData, RetailerTables

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_DAY = 86_400 * 10**9
_START = 1_483_228_800 * 10**9
"""2017-01-01 in nanoseconds since 1970."""
_MONTH = 28
_TRIES = 6
_BLOCK = 20_000
"""So many customers are drawn at once: a line takes some hundred bytes while it is drawn."""


@dataclass(frozen=True)
class Drawn:
    """What is drawn; the defaults of all but sizes and seed are fitted.

    Attributes:
        products: Products of all retailers together.
        customers: Customers of each retailer.
        seed: Seed of everything.
        weeks: Length of the period.
        sold: Share of the products that a retailer sells.
        tastes: Number of ways to shop.
        mixed: Dirichlet's concentration over the tastes, all together: how many a customer mixes.
        depths: Deviations of a taste's logarithms by department, category, kind and product.
        slope, head, bend: Popularity of rank r is `(r + head)^-slope exp(-bend r / products)`.
        baskets: Mean and deviation of the logarithm of a customer's trips a year.
        lines: The same of products a trip.
        again: Share of lines that repeat an earlier one.
        drift: Deviation of a product's logarithm by month.
        own: Deviation of a product's logarithm by retailer.
    """

    products: int
    customers: tuple[int, ...]
    seed: int = 0
    weeks: int = 52
    sold: float = 1.0
    tastes: int = 48
    mixed: float = 1.5
    depths: tuple[float, float, float, float] = (0.45, 0.8, 1.3, 0.9)
    slope: float = 0.62
    head: float = 0.3
    bend: float = 0.9
    baskets: tuple[float, float] = (3.4, 1.1)
    lines: tuple[float, float] = (1.8, 1.15)
    again: float = 0.33
    drift: float = 0.75
    own: float = 0.3


def drawn(settings: Drawn) -> RetailData:
    """Purchases of all retailers, each product's department, category and kind beside them."""
    generator = np.random.default_rng([settings.seed, 0])
    world = _World.of(settings, generator)
    members = tuple(
        RetailerTables(f"retailer-{place + 1:02}", world.lines(place, count))
        for place, count in enumerate(settings.customers)
    )
    return RetailData("drawn", members, world.catalogue(), made_up=True)


@dataclass(frozen=True)
class _World:
    """What all retailers have in common.

    Attributes:
        settings: What is drawn.
        groups: Codes of the products' departments, categories and kinds, [3, I].
        sums: Running sums of all tastes' distributions; taste t lies between t and t + 1.
        drift: Logarithms by month and product.
    """

    settings: Drawn
    groups: Ints
    sums: Floats
    drift: Floats

    @classmethod
    def of(cls, settings: Drawn, generator: np.random.Generator) -> _World:
        groups = _hierarchy(settings.products, generator)
        rank = generator.permutation(settings.products)
        common = -settings.slope * np.log(rank + settings.head)
        common -= settings.bend * rank / settings.products
        logs = np.tile(common, (settings.tastes, 1))
        for codes, depth in zip(
            [*groups, np.arange(settings.products)], settings.depths, strict=True
        ):
            effects = generator.standard_normal((settings.tastes, codes.max() + 1))
            logs += depth * effects[:, codes]
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        sums = np.cumsum(shares, axis=1)
        sums = (sums / sums[:, -1:] + np.arange(settings.tastes)[:, None]).ravel()
        months = -(-settings.weeks * 7 // _MONTH)
        return cls(settings, groups, sums, _walk(months, settings, generator))

    def catalogue(self) -> pd.DataFrame:
        """One row a product."""
        names = zip(("department", "category", "kind"), self.groups, strict=True)
        columns: dict[str, Any] = {
            name: [f"{name} {code}" for code in codes] for name, codes in names
        }
        return pd.DataFrame(
            {"product": np.arange(self.settings.products)} | columns | {"brand": "", "size": ""}
        )

    def lines(self, place: int, customers: int) -> pd.DataFrame:
        """One retailer's lines, customers numbered from 0."""
        generator = np.random.default_rng([self.settings.seed, 1, place])
        products = self.settings.products
        own = self.settings.own * generator.standard_normal(products)
        own[generator.random(products) >= self.settings.sold] = -np.inf
        parts, baskets = [], 0
        for first in range(0, customers, _BLOCK):
            count = min(_BLOCK, customers - first)
            part = self._block(count, own, generator)
            part["customer"] += first
            part["basket"] += baskets
            baskets = int(part["basket"].max()) + 1
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def _block(self, count: int, own: Floats, generator: np.random.Generator) -> pd.DataFrame:
        settings = self.settings
        mean, deviation = settings.baskets
        trips = np.exp(generator.normal(mean, deviation, count)) * settings.weeks / 52
        trips = np.clip(trips, 3, 5 * settings.weeks).astype(np.int64)
        basket_customer = np.repeat(np.arange(count), trips)
        time = generator.integers(0, settings.weeks * 7 * _DAY, len(basket_customer))
        order = np.lexsort((time, basket_customer))
        time = time[order]
        sizes = np.exp(generator.normal(*settings.lines, len(time)))
        sizes = np.clip(sizes, 1, 120).astype(np.int64)
        basket = np.repeat(np.arange(len(time)), sizes)
        customer = basket_customer[basket]
        month = time[basket] // (_MONTH * _DAY)
        tastes = self._tastes(customer, count, generator)
        product = self._bought(tastes, month, own, generator)
        product = _repeated(product, customer, settings.again, generator)
        kept = own[product] > -np.inf
        price = 1.0 + product % 50 / 10
        return pd.DataFrame(
            {
                "customer": customer,
                "product": product,
                "basket": basket,
                "time": pd.to_datetime(_START + time[basket]),
                "quantity": 1.0,
                "value": price,
                "discount": 0.0,
            }
        )[kept]

    def _tastes(self, customer: Ints, count: int, generator: np.random.Generator) -> Ints:
        """A taste for each line, from its customer's mixture."""
        settings = self.settings
        share = settings.mixed / settings.tastes
        gammas = generator.gamma(share, size=(count, settings.tastes)) + 1e-12
        mixture = np.cumsum(gammas / gammas.sum(axis=1, keepdims=True), axis=1)
        flat = (mixture / mixture[:, -1:] + np.arange(count)[:, None]).ravel()
        place = np.searchsorted(flat, customer + generator.random(len(customer)))
        return np.minimum(place - customer * settings.tastes, settings.tastes - 1)

    def _bought(
        self, tastes: Ints, month: Ints, own: Floats, generator: np.random.Generator
    ) -> Ints:
        """A product for each line: drawn by taste, kept by how well it sells here and now."""
        products = self.settings.products
        found = np.empty(len(tastes), dtype=np.int64)
        left = np.arange(len(tastes))
        for _ in range(_TRIES):
            place = np.searchsorted(self.sums, tastes[left] + generator.random(len(left)))
            place = np.minimum(place, tastes[left] * products + products - 1)
            found[left] = place - tastes[left] * products
            wanted = own[found[left]] + self.drift[month[left], found[left]]
            left = left[generator.random(len(left)) >= 0.5 * np.exp(wanted)]
        return found


def _hierarchy(products: int, generator: np.random.Generator) -> Ints:
    """Departments, categories and kinds, sized as in the Complete Journey's assortment."""
    kinds, categories, departments = max(products // 10, 1), max(products // 45, 1), 18
    category = _sized(kinds, categories, generator)
    department = _sized(categories, departments, generator)
    kind = _sized(products, kinds, generator)
    return np.stack([department[category[kind]], category[kind], kind])


def _sized(members: int, groups: int, generator: np.random.Generator) -> Ints:
    """A group for each member; sizes fall with the root of the rank."""
    share = 1 / np.sqrt(np.arange(groups) + 3.0)
    return generator.choice(groups, size=members, p=share / share.sum())


def _walk(months: int, settings: Drawn, generator: np.random.Generator) -> Floats:
    """A product's logarithm by month: half of a month's is left in the next but three."""
    kept = 0.8
    found = np.empty((months, settings.products))
    found[0] = generator.standard_normal(settings.products)
    for month in range(1, months):
        fresh = generator.standard_normal(settings.products)
        found[month] = kept * found[month - 1] + np.sqrt(1 - kept**2) * fresh
    return settings.drift * found


def _repeated(product: Ints, customer: Ints, share: float, generator: np.random.Generator) -> Ints:
    """The products, a share of the lines repeating an earlier line of the same customer."""
    place = np.arange(len(product))
    first = np.searchsorted(customer, customer)
    earlier = first + (generator.random(len(product)) * (place - first)).astype(np.int64)
    source = np.where(generator.random(len(product)) < share, earlier, place)
    while True:
        further = source[source]
        if np.array_equal(further, source):
            return product[source]
        source = further
