"""Own-price elasticities by category from all retailers' customers, and recommended prices.

The shared parameters are sums over customers, from which the elasticities follow. Each retailer
personalizes them by a mean with the elasticities of its own customers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError
from securefl.ml.batches import Batch, TensorExamples
from securefl.ml.metrics.score_blending import best_share
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.base import MemberData, Task
from securefl.tasks.demand.series import (
    WEEK,
    Floats,
    Ints,
    complete_steps,
    vocabulary,
)
from securefl.tasks.demand.windows import time_cuts
from securefl.tasks.pricing.elasticities import Elasticities, SufficientStatistics, estimated
from securefl.tasks.pricing.examples import (
    PricedSales,
    elasticity_metrics,
    no_elasticity_metrics,
    priced_sales,
)
from securefl.tasks.pricing.facts import PricedFacts, PricingFacts, check_prices
from securefl.tasks.pricing.linear_statistics import UnitSums, unit_sums
from securefl.tasks.pricing.price_list import Lines, PriceList, price_list, supplied_prices
from securefl.tasks.pricing.price_optimization import (
    Product,
    advice_row,
    price_curve,
    usual_product,
)
from securefl.tasks.pricing.settings import ElasticitySettings, PricingSettings
from securefl.tasks.pricing.sufficient_statistics import bounded, customer_statistics

_RECENT: Final = 8
"""Number of last weeks whose mean is the current sales of a product."""


@dataclass(frozen=True)
class PricingMember(MemberData):
    """A member's statistics, its prices and its held-out sales.

    Attributes:
        sums: Sums of its own customers' statistics; under a budget they are not released.
        parties: Number of members in the shared sums.
        keys: Names of the categories.
        prices: Retailer to price list: one retailer for a member, all of them for pooled data.
        sales: Retailer to evaluated sales.
        privacy_units: Number of customers.
    """

    sums: Floats
    parties: int
    keys: tuple[str, ...]
    prices: Mapping[str, PriceList]
    sales: Mapping[str, PricedSales]
    privacy_units: int

    @property
    def units(self) -> int:
        """See `MemberData.units`."""
        return self.privacy_units

    def present(self, name: str) -> Ints:
        """Return the keys of the categories in which a retailer has prices, int64."""
        return np.unique(self.prices[name].category)


class PricingTask(Task[PricingFacts, PricingMember]):
    """Estimates own-price elasticities by category."""

    name: ClassVar[str] = "pricing"
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("deviance", higher_is_better=False),
        MetricSpec("units_wape", higher_is_better=False),
        MetricSpec("units_mape", higher_is_better=False),
        MetricSpec("standard_error", higher_is_better=False, counted_as="estimates"),
    )

    @property
    def scored_metrics(self) -> tuple[MetricSpec, ...]:
        """See `Task.scored_metrics`."""
        shown = ("elasticity", "negative", "significant")
        return (*self.metrics, *(MetricSpec(name, True, counted_as="estimates") for name in shown))

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert isinstance(config.cuts, PricingSettings)
        assert isinstance(config.model, ElasticitySettings)
        self.split, self.settings = config.cuts, config.model
        self.mechanism = mechanism_for(config.privacy)

    def agree(self, data: RetailData) -> PricingFacts:
        """Return the calendar and the categories.

        Raises:
            DataError: If no week is left to train on.
            ConfigError: If customers are to be hidden, and no prices are supplied.
        """
        check_prices(supplied=data.prices is not None or not self.hides_units)
        weeks = complete_steps(data, WEEK)
        needed = 2 + self.split.validation_steps + self.split.test_steps
        if len(weeks) < needed:
            raise DataError(f"{data.source}: {len(weeks)} complete weeks, but {needed} needed")
        words = vocabulary(data.products, "category")
        facts = PricingFacts(weeks, words, len(data.members))
        return facts if data.prices is None else PricedFacts(**vars(facts), prices=data.prices)

    def prepare(self, tables: RetailerTables, facts: PricingFacts) -> PricingMember:
        """Return one retailer's price list and its customers' statistics.

        Raises:
            DataError: If no product has a price in enough weeks, or no customer is known and none
                is to be hidden.
            ConfigError: See `agree`.
        """
        check_prices(supplied=isinstance(facts, PricedFacts) or not self.hides_units)
        training = self._weeks(facts)["train"].stop
        lines = Lines.of(tables, facts.weeks)
        if not (lines.week < training).any() and not self.hides_units:
            raise DataError(f"{tables.name}: no purchase of a known customer at a price")
        prices, sales = self.market(tables.name, lines, facts)
        score, information = customer_statistics(
            lines, prices, training, len(facts.words.keys), self.settings.reference
        )
        statistics = bounded(score, information, self.settings.influence)
        own = {tables.name: prices}, {tables.name: sales}
        return self._member(tables.name, statistics, facts, *own)

    def market(self, name: str, lines: Lines, facts: PricingFacts) -> tuple[PriceList, PricedSales]:
        """Return a retailer's price list and the sales of the products that are evaluated.

        Raises:
            DataError: If no product has a price in enough weeks.
        """
        splits = self._weeks(facts)
        prices = self._price_list(name, lines, facts, splits["train"].stop)
        if not len(prices.products):
            raise DataError(
                f"{name}: no product of a known category has a price in enough weeks"
                " (pricing.priced_share)"
            )
        return prices, priced_sales(lines, prices, splits, self.split.min_mean)

    def _weeks(self, facts: PricingFacts) -> dict[Split, range]:
        """Return the weeks of each split."""
        cuts = self.split
        return time_cuts(0, len(facts.weeks), cuts.validation_steps, cuts.test_steps)

    def _price_list(self, name: str, lines: Lines, facts: PricingFacts, training: int) -> PriceList:
        if not isinstance(facts, PricedFacts):
            return price_list(lines, facts.words, len(facts.weeks), training, self.split)
        own = facts.prices[facts.prices["member"] == name]
        return supplied_prices(own, facts.words, facts.weeks, training, self.split)

    def pool(self, members: Sequence[PricingMember], facts: PricingFacts) -> PricingMember:
        """Return all retailers' customers, prices and sales."""
        sums = np.sum([member.sums for member in members], axis=0)
        prices = {name: one for member in members for name, one in member.prices.items()}
        sales = {name: one for member in members for name, one in member.sales.items()}
        return self._member("pooled", sums[None, :], facts, prices, sales)

    def model(self, facts: PricingFacts, customers: int) -> UnitSums:
        """Return sums of zero."""
        return UnitSums(2 * len(facts.words.keys) + 1)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return minus each unit's statistics times the sums, float [B]."""
        return unit_sums(model).losses(batch[0])

    def evaluate(
        self, model: nn.Module, member: PricingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Predict held-out sales by the mean of shared and local elasticities."""
        shared, local = self.shared(model, member), self.local_elasticities(member)
        return {
            name: scored(
                member, name, split, *self._personalized(shared, local, member.sales[name])
            )
            for name in member.sales
        }

    def evaluate_shared(
        self, model: nn.Module, member: PricingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Predict held-out sales by the shared elasticities alone."""
        return _by_retailer(member, split, self.shared(model, member))

    def evaluate_local(self, member: PricingMember, split: Split) -> dict[str, MetricSums]:
        """Predict held-out sales by the elasticities of the retailer's own customers."""
        return _by_retailer(member, split, self.local_elasticities(member))

    def baseline(self, member: PricingMember, split: Split) -> dict[str, MetricSums]:
        """Predict held-out sales without any effect of prices."""
        nothing = np.zeros(len(member.keys))
        return {
            name: MetricSums(sales.scored(nothing, split) | no_elasticity_metrics())
            for name, sales in member.sales.items()
        }

    def local_outputs(self, model: nn.Module, member: PricingMember) -> Mapping[str, pd.DataFrame]:
        """Return recommended prices by product, and revenue and margin by price and category."""
        value, error = self.personalized(model, member)
        prices, sales = member.prices[member.name], member.sales[member.name]
        return {
            "prices": self.price_table((prices, sales), member.keys, value, error),
            "price-curves": self._curves(member, value, error),
        }

    def personalized(self, model: nn.Module, member: PricingMember) -> tuple[Floats, Floats]:
        """Return a retailer's personalized elasticities and their errors, float64 [K] each."""
        shared, local = self.shared(model, member), self.local_elasticities(member)
        return self._personalized(shared, local, member.sales[member.name])

    def shared(self, model: nn.Module, member: PricingMember) -> Elasticities:
        """Return the elasticities of the shared sums, with the noise in their standard errors.

        The model is the mean over the members; a dropout counts as an average member.
        """
        factor = member.parties * self.config.privacy.expected_batch
        values = unit_sums(model).values.double().numpy() * factor
        noise = self.mechanism.summed_deviation(self.config, member.parties, len(values))
        return estimated(self._sums(values, noise))

    def local_elasticities(self, member: PricingMember) -> Elasticities:
        """Return the elasticities of a member's own customers, without noise."""
        return estimated(self._sums(member.sums))

    def _sums(self, values: Floats, deviation: float = 0.0) -> SufficientStatistics:
        return SufficientStatistics(
            values, self.settings.influence, self.settings.reference, deviation
        )

    def _member(
        self,
        name: str,
        statistics: Floats,
        facts: PricingFacts,
        prices: Mapping[str, PriceList],
        sales: Mapping[str, PricedSales],
    ) -> PricingMember:
        """Return the member; an example is a customer under a budget, else the retailer's sum.

        Without a budget the mean over customers would lose their number, which the sum needs.
        """
        sums = statistics.sum(axis=0)
        units = (
            statistics
            if self.mechanism.private
            else sums[None, :] / self.config.privacy.expected_batch
        )
        return PricingMember(
            name=name,
            examples=TensorExamples((torch.from_numpy(units.astype(np.float32)),)),
            samples=1,
            customers=0,
            sums=sums,
            parties=facts.members,
            keys=facts.words.keys,
            prices=prices,
            sales=sales,
            privacy_units=len(statistics),
        )

    def _personalized(
        self, shared: Elasticities, local: Elasticities, sales: PricedSales
    ) -> tuple[Floats, Floats]:
        """Return a retailer's personalized elasticities and their errors, float64 [K] each.

        The two estimates share customers. The error of their mean is at most the mean of their
        errors, for any correlation.
        """

        def mixed(share: float) -> Floats:
            return share * shared.value + (1 - share) * local.value

        def deviance(share: float) -> float:
            return sales.scored(mixed(share), "validation")["deviance"].value

        share = best_share(deviance)
        return mixed(share), share * shared.error + (1 - share) * local.error

    def price_table(
        self,
        market: tuple[PriceList, PricedSales],
        keys: tuple[str, ...],
        value: Floats,
        error: Floats,
    ) -> pd.DataFrame:
        """Return recommended prices, a row a product.

        Args:
            market: A retailer's prices and sales.
            keys: Names of the categories.
            value: Their elasticities, float64 [K].
            error: Standard errors of these, float64 [K].
        """
        prices, sales = market
        rows = []
        for row, units in zip(sales.rows, sales.units[:, -_RECENT:].mean(axis=1), strict=True):
            key = prices.category[row]
            cost = self.split.cost_share * prices.shelf[row]
            product = Product(
                float(prices.paid[row, -1]), float(cost), float(units), value[key], error[key]
            )
            head = {"product": int(prices.products[row]), "category": keys[key]}
            rows.append(head | advice_row(product, self.split))
        return pd.DataFrame(rows)

    def _curves(self, member: PricingMember, value: Floats, error: Floats) -> pd.DataFrame:
        curves = []
        for key in member.present(member.name):
            curve = price_curve(usual_product(value[key], error[key], self.split), self.split)
            head = {"category": member.keys[key], "elasticity": value[key]}
            curves.append(curve.assign(**head, standard_error=error[key]))
        return pd.concat(curves, ignore_index=True)


def _by_retailer(member: PricingMember, split: Split, found: Elasticities) -> dict[str, MetricSums]:
    return {name: scored(member, name, split, found.value, found.error) for name in member.sales}


def scored(
    member: PricingMember, name: str, split: Split, value: Floats, error: Floats
) -> MetricSums:
    """Return the metric sums of a retailer under elasticities and errors, float64 [K] each."""
    summary = elasticity_metrics(value, error, member.present(name))
    return MetricSums(member.sales[name].scored(value, split) | summary)
