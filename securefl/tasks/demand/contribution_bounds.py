"""Contributions of single customers to a retailer's series, with a public bound on each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from securefl.config.privacy import Unit
from securefl.data.tables import RetailerTables
from securefl.tasks.demand.series import Cadence, Days, Floats, Ints, Vocabulary, bounded_units

_UNKNOWN_CUSTOMER = -1


@dataclass(frozen=True)
class Contributions:
    """Purchase lines as additions to cells of series by step.

    Attributes:
        customer: Customer of each line, int64 [L]; -1 where unknown.
        cell: Series times steps plus step, int64 [L].
        units: Units bought, float64 [L], not negative.
        shape: Series K and steps T.
    """

    customer: Ints
    cell: Ints
    units: Floats
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, tables: RetailerTables, words: Vocabulary, steps: Days, cadence: Cadence
    ) -> Contributions:
        """Return the lines of one retailer within `steps`, datetime64[D] [T]."""
        lines = tables.transactions
        days = lines["time"].to_numpy().astype("datetime64[D]")
        step = (days - steps[0]).astype(np.int64) // cadence.days
        inside = (step >= 0) & (step < len(steps))
        series = words.of(lines["product"].to_numpy(np.int64)[inside])
        return cls(
            customer=lines["customer"].to_numpy(np.int64)[inside],
            cell=series * len(steps) + step[inside],
            units=bounded_units(lines["quantity"].to_numpy(np.float64)[inside]),
            shape=(len(words.keys), len(steps)),
        )

    def count(self, unit: Unit) -> int:
        """Return the number of privacy units: known customers, or lines."""
        if unit == "record":
            return len(self.customer)
        return len(np.unique(self.customer[self.customer != _UNKNOWN_CUSTOMER]))

    def of_customers(self, bound: float) -> Floats:
        """Return the series with each customer's additions clipped to norm `bound`, [K, T].

        Adding or removing one customer moves the series by at most `bound` in the Euclidean norm
        over all cells. Lines of unknown customers are left out: any number of them may belong to
        one person.
        """
        return self._known()._summed(bound)

    def of_records(self, bound: float, records: int) -> Floats:
        """Return the series with each line clipped at `bound` units, float64 [K, T].

        Adding or removing one line moves the series by at most `bound`, and one customer by at most
        `records` times as much: their additions are scaled to that norm, and projection onto a ball
        is non-expansive. A line of an unknown customer counts as a customer of its own.
        """
        cut = Contributions(self._apart(), self.cell, np.minimum(self.units, bound), self.shape)
        return cut._summed(bound * records)

    def _known(self) -> Contributions:
        known = self.customer != _UNKNOWN_CUSTOMER
        return Contributions(self.customer[known], self.cell[known], self.units[known], self.shape)

    def _apart(self) -> Ints:
        """Return customers, int64 [L], each line of an unknown one having a number of its own."""
        unknown = self.customer == _UNKNOWN_CUSTOMER
        below = _UNKNOWN_CUSTOMER - 1 - np.arange(len(self.customer))  # ids are not negative
        return np.where(unknown, below, self.customer)

    def _summed(self, bound: float) -> Floats:
        cells = self.shape[0] * self.shape[1]
        place = np.unique(self.customer, return_inverse=True)[1]
        pair, row = np.unique(place * cells + self.cell, return_inverse=True)
        amounts = np.bincount(row, self.units, minlength=len(pair))
        owner = pair // cells
        norms = np.sqrt(np.bincount(owner, amounts**2))
        factors = np.minimum(1.0, bound / np.maximum(norms, bound))
        series = np.bincount(pair % cells, amounts * factors[owner], minlength=cells)
        return series.astype(np.float64).reshape(self.shape)
