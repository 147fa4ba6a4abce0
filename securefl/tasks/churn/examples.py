"""Customers at observation dates: features known by then, and whether they came back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError
from securefl.ml.metrics.spec import Split
from securefl.tasks.churn.rfm_features import (
    WEEK,
    Floats,
    Ints,
    Lines,
    Visits,
    purchase_features,
)
from securefl.tasks.churn.settings import ChurnSettings
from securefl.tasks.churn.side_features import (
    check_profiles,
    event_features,
    event_products,
    profile_features,
)

_DAY = WEEK // 7


@dataclass(frozen=True)
class ChurnFacts:
    """What all members agree on; only the period comes from the retailers' purchases.

    Attributes:
        begin: The first day of the period, in ns since 1970.
        end: The day after its last, in ns since 1970.
        products: The catalogue's products, int64 [I], ascending.
        category: The code of each one's category, int64 [I].
        event_products: The products that each word of `churn.events` names; none means all.
    """

    format_name: ClassVar[str] = "ChurnFacts"
    begin: int
    end: int
    products: Ints
    category: Ints
    event_products: tuple[Ints, ...]


@dataclass(frozen=True)
class ChurnExamples:
    """Customers at observation dates.

    Attributes:
        customers: Customer of each case, int64 [N].
        features: Features known at the date, float32 [N, F]; the first is recency.
        gone: Whether the customer did not come back, bool [N].
    """

    customers: Tensor
    features: Tensor
    gone: Tensor

    def at(self, rows: Tensor) -> ChurnExamples:
        """Return some of the cases, int64 [m]."""
        return ChurnExamples(self.customers[rows], self.features[rows], self.gone[rows])


def agreed_facts(data: RetailData, settings: ChurnSettings) -> ChurnFacts:
    """Return the period and the catalogue.

    Raises:
        ConfigError: If a word of `churn.profile` is malformed.
        DataError: If the period is too short for the cut-offs, or a word matches nothing.
    """
    check_profiles(settings.profile, data)
    times = [member.transactions["time"].to_numpy("datetime64[ns]") for member in data.members]
    begin = min(int(t.min().astype(np.int64)) for t in times) // _DAY * _DAY
    end = max(int(t.max().astype(np.int64)) for t in times) // _DAY * _DAY + _DAY
    products = np.sort(data.products["product"].to_numpy(np.int64))
    filed = data.products.set_index("product")["category"].reindex(products)
    codes = np.unique(filed.to_numpy(str), return_inverse=True)[1].astype(np.int64)
    facts = ChurnFacts(begin, end, products, codes, event_products(settings.events, data))
    weeks, needed = (
        (end - begin) // WEEK,
        (end - observation_dates(end, settings)["train"][-1]) // WEEK,
    )
    if weeks <= needed:
        raise DataError(f"{data.source}: {weeks} weeks of purchases, but more than {needed} needed")
    return facts


def observation_dates(end: int, settings: ChurnSettings) -> dict[Split, tuple[int, ...]]:
    """Return the observation dates of each split, in ns since 1970, the latest first.

    The outcome window of a case ends before the next split's date, so that everything used for
    training or selection had happened by the time of the test.
    """
    horizon, step = settings.horizon_weeks * WEEK, settings.step_weeks * WEEK
    last = end - 3 * horizon
    return {
        "train": tuple(last - number * step for number in range(settings.training_cutoffs)),
        "validation": (end - 2 * horizon,),
        "test": (end - horizon,),
    }


class RetailerObservations:
    """One retailer's customers at any observation date.

    Args:
        tables: The retailer's own tables.
        facts: What the members agree on.
        settings: Split settings.
    """

    def __init__(self, tables: RetailerTables, facts: ChurnFacts, settings: ChurnSettings) -> None:
        self.lines = Lines.of(tables.transactions, facts.products, facts.category)
        self.tables = tables
        self.facts = facts
        self.settings = settings

    def at(self, moments: Sequence[int]) -> ChurnExamples:
        """Return the cases at some observation dates, in ns since 1970."""
        parts = [self._at(moment) for moment in moments]
        customers, features, gone = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ChurnExamples(
            customers=torch.from_numpy(customers),
            features=torch.from_numpy(features.astype(np.float32)),
            gone=torch.from_numpy(gone),
        )

    def _at(self, moment: int) -> tuple[Ints, Floats, npt.NDArray[np.bool_]]:
        settings = self.settings
        known = self.lines.between(moment - settings.history_weeks * WEEK, moment)
        visits = Visits.of(known, moment)
        counts = visits.counts() >= settings.min_baskets
        counts &= visits.recency() <= settings.active_weeks
        customers = visits.customers[counts]
        later = self.lines.between(moment, moment + settings.horizon_weeks * WEEK)
        features = [
            purchase_features(known, visits)[counts],
            profile_features(self.tables.profiles, settings.profile, customers),
            event_features(
                self.tables.browsing,
                settings.events,
                self.facts.event_products,
                customers,
                moment,
            ),
        ]
        return customers, np.concatenate(features, axis=1), ~np.isin(customers, later.customer)
