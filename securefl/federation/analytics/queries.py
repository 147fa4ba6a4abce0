"""Queries: a statistic of a column, with a public bound on each customer's contribution.

Everything in a query is public and fixed before any data are read. Its canonical JSON is part of
the session's context, so that members that were asked different queries have no common sum.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from securefl.config.base import Settings
from securefl.consortium.encoding.jcs import canonical_bytes
from securefl.errors import ConfigError
from securefl.federation.analytics.columns import NUMBERS, TEXTS
from securefl.untrusted.text import fault_at

Kind = Literal["sum", "mean", "histogram", "quantiles", "top"]

MOST_RECORDS = 4096
MOST_BINS = 1 << 16
LEAST_RANGE = 1e-6
"""Narrowest range: of a range near the smallest float the steps are 0, and quotients no numbers."""
Bound = Annotated[float, Field(ge=-1e9, le=1e9)]

_RECORDS: dict[Kind, int] = {
    "sum": 100,
    "mean": 20,
    "histogram": 20,
    "quantiles": 20,
    "top": 200,
}
_BINS: dict[Kind, int] = {"histogram": 20, "quantiles": 100}


class Query(Settings):
    """One query.

    Attributes:
        kind: The statistic.
        column: The column; see `columns`.
        records: Largest number of a customer's records that count, sampled by their retailer; in a
            sum all count, and the customer's total is clipped to so many times the range.
        repeats: Largest number of them that count in one bin, or under one name.
        low: Smaller numbers are clipped to it.
        high: Larger numbers are clipped to it.
        bins: Number of equal bins of the range; None for a column of names.
        retailers: Largest number of retailers with the same customer.
    """

    kind: Kind
    column: str
    records: Annotated[PositiveInt, Field(le=MOST_RECORDS)]
    repeats: Annotated[PositiveInt, Field(le=MOST_RECORDS)]
    low: Bound | None = None
    high: Bound | None = None
    bins: Annotated[PositiveInt, Field(le=MOST_BINS)] | None = None
    retailers: Annotated[PositiveInt, Field(le=1000)] = 1

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        named = self.column in TEXTS
        if not named and self.column not in NUMBERS:
            raise ValueError(f"column: there is no '{self.column}'")
        if named and self.kind in ("sum", "mean", "quantiles"):
            raise ValueError(f"{self.kind}: '{self.column}' holds names; take a column of numbers")
        if not named and self.kind == "top":
            raise ValueError(f"top: '{self.column}' holds numbers; take a column of names")
        if self.repeats > self.records:
            raise ValueError("repeats: cannot exceed records")
        ranged = self.low is not None and self.high is not None
        if named and (self.low is not None or self.high is not None):
            raise ValueError("range: a column of names has none")
        if not named and (not ranged or not self.low < self.high):  # type: ignore[operator]
            raise ValueError("range: goes from a smaller to a larger number")
        if ranged and self.high - self.low < LEAST_RANGE:  # type: ignore[operator]
            raise ValueError(f"range: at least {LEAST_RANGE:g} wide")
        if (self.bins is not None) != (not named and self.kind in _BINS):
            raise ValueError("bins: are for histograms and quantiles of numbers")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """Low and high, of a column of numbers."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def canonical(self) -> bytes:
        """Return its canonical JSON (RFC 8785), in which it is sent and hashed."""
        return canonical_bytes(self.model_dump(mode="json"))


def ask_for(
    kind: Kind,
    column: str,
    *,
    records: int | None = None,
    repeats: int | None = None,
    limits: tuple[float, float] | None = None,
    bins: int | None = None,
    retailers: int = 1,
) -> Query:
    """Return a query, with the default public bounds where none are given.

    Raises:
        ConfigError: If column, kind and bounds do not match; one line.
    """
    number = NUMBERS.get(column)
    most = min(records or _RECORDS[kind], MOST_RECORDS)
    if number is not None and number.single and records is None:
        most = 1
    low, high = limits or ((number.low, number.high) if number else (None, None))
    usual = _BINS.get(kind) if number else None
    try:
        return Query(
            kind=kind,
            column=column,
            records=records or most,
            repeats=repeats or (1 if kind == "top" else records or most),
            low=low,
            high=high,
            bins=bins or usual,
            retailers=retailers,
        )
    except ValidationError as error:
        raise ConfigError(fault_at(error.errors()[0])) from None


def read_query(data: bytes) -> Query:
    """Return the query in a message.

    Raises:
        ConfigError: If it is not a query, or not in its canonical form.
    """
    try:
        query = Query.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError(f"this is no query: {fault_at(error.errors()[0])}") from None
    # The digest of these bytes is signed: two spellings of one query would be two queries.
    if query.canonical() != data:
        raise ConfigError("this is no query: it is not in its canonical form")
    return query
