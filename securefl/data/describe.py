"""What a data set holds, in the figures that a retailer asks for first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pandas as pd

from securefl.data.schema import ANONYMOUS, UNKNOWN_PRODUCT
from securefl.data.tables import RetailData, RetailerTables


@dataclass(frozen=True)
class MemberDescription:
    """One retailer in figures.

    Attributes:
        name: The member's name.
        customers: Distinct customers, without the anonymous one.
        products: Distinct products sold, without the out-of-vocabulary one.
        baskets: Distinct baskets.
        transactions: Rows of the transactions.
        revenue: Sum of `value`, in the currency of the data.
        first_day: Day of the first transaction.
        last_day: Day of the last transaction.
    """

    name: str
    customers: int
    products: int
    baskets: int
    transactions: int
    revenue: float
    first_day: date
    last_day: date


@dataclass(frozen=True)
class Description:
    """A consortium's data in figures.

    Attributes:
        source: Name of the source.
        members: One entry a retailer, in the order of the data.
        catalogue: Products of the catalogue, without the out-of-vocabulary row.
        customers: Distinct customers of all members together.
        shared_customers: Customers of more than one member: their privacy is spent at each.
        promotions: Rows of the promotions, None where there are none.
    """

    source: str
    members: tuple[MemberDescription, ...]
    catalogue: int
    customers: int
    shared_customers: int
    promotions: int | None


def describe(data: RetailData) -> Description:
    """Count what the tables hold; sees all members at once, as only a simulation can."""
    customers = [_known(member.transactions["customer"], ANONYMOUS) for member in data.members]
    memberships = pd.concat(customers).value_counts()
    return Description(
        source=data.source,
        members=tuple(_describe(member) for member in data.members),
        catalogue=len(_known(data.products["product"], UNKNOWN_PRODUCT)),
        customers=len(memberships),
        shared_customers=int((memberships > 1).sum()),
        promotions=None if data.promotions is None else len(data.promotions),
    )


def _describe(member: RetailerTables) -> MemberDescription:
    sales = member.transactions
    return MemberDescription(
        name=member.name,
        customers=len(_known(sales["customer"], ANONYMOUS)),
        products=len(_known(sales["product"], UNKNOWN_PRODUCT)),
        baskets=int(sales["basket"].nunique()),
        transactions=len(sales),
        revenue=float(sales["value"].sum()),
        first_day=sales["time"].min().date(),
        last_day=sales["time"].max().date(),
    )


def _known(values: pd.Series, unknown: int) -> pd.Series:
    """Return the distinct values but the one that stands for nobody or nothing."""
    distinct = values.drop_duplicates()
    return distinct[distinct != unknown]
