"""What a customer of several retailers has paid: more than at one, most of all under shared noise.

Noise that each retailer adds by itself composes. Noise that they share is there once, and a
customer of r of them moves the sum at each of hers. Nobody knows who is whose customer, so what is
stated is an upper bound for any r: of what retailers released by themselves, what the r paid that
paid most; of every shared sum, that she was in it at as many retailers as could be.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from securefl.consortium.ledger.account_statements import ACCOUNTANT, books_in
from securefl.consortium.ledger.composition import compose, compose_shared
from securefl.consortium.ledger.events import Mechanism
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, ReleaseRow, RunRow
from securefl.privacy.accounting.spent import privacy_unit
from securefl.privacy.mechanisms import mechanism_kind

Sum = tuple[str, int, int]
"""A run, a round of it, and which charge of the round where a member was charged twice."""


@dataclass(frozen=True)
class SharedCustomer:
    """What a customer of several retailers may have paid, in the worst case.

    Attributes:
        unit: Whose presence is hidden.
        retailers: Of how many retailers.
        epsilon: What she has paid at most, at `delta`; None where no bound is known.
        delta: At which epsilon is given.
    """

    unit: str
    retailers: int
    epsilon: float | None
    delta: float


@dataclass(frozen=True)
class SharedRun:
    """What one run under shared noise cost a customer of several retailers.

    Attributes:
        run: Its name, hex.
        retailers: Of how many retailers.
        epsilon: What she has paid at most, at `delta`; None where no bound is known.
        delta: Of the run.
    """

    run: str
    retailers: int
    epsilon: float | None
    delta: float


@dataclass
class _Spent:
    """What one retailer's data have paid for one unit.

    Attributes:
        own: Under noise of the retailer's own.
        shared: Under noise that was shared, sum by sum.
    """

    own: list[Mechanism] = field(default_factory=list)
    shared: dict[Sum, Mechanism] = field(default_factory=dict)

    @property
    def all(self) -> list[Mechanism]:
        return [*self.own, *self.shared.values()]


def shared_customers(folder: Path, delta: float | None = None) -> tuple[SharedCustomer, ...]:
    """What a customer of 1, 2, ... retailers may have paid.

    Args:
        folder: Folder of the books.
        delta: At which epsilon is given; the smallest of all runs where not given.

    Raises:
        InputError: If a book is damaged.
    """
    spent: dict[str, list[_Spent]] = defaultdict(list)
    deltas = []
    for _, book in books_in(folder, None):
        for unit, paid in _by_unit(book).items():
            spent[unit].append(paid)
        deltas += [row.delta for row in book.runs() if row.delta is not None]
    if not spent:
        return ()
    at = min(deltas) if delta is None else delta
    return tuple(
        SharedCustomer(unit, retailers, epsilon, at)
        for unit in sorted(spent)
        for retailers, epsilon in _at_most(spent[unit], at)
    )


def shared_runs(folder: Path) -> tuple[SharedRun, ...]:
    """Every run in which retailers shared the noise for customers, for 2 and for all of its own.

    Raises:
        InputError: If a book is damaged.
    """
    deltas: dict[str, float] = {}
    runs: dict[str, list[_Spent]] = defaultdict(list)
    for _, book in books_in(folder, None):
        deltas |= {row.run: row.delta for row in book.runs() if row.delta is not None}
        paid = _by_unit(book).get("customer", _Spent())
        for run in {place[0] for place in paid.shared}:
            part = {place: one for place, one in paid.shared.items() if place[0] == run}
            runs[run].append(_Spent(shared=part))
    return tuple(
        SharedRun(run, retailers, epsilon, deltas[run])
        for run, spent in runs.items()
        for retailers, epsilon in _at_most(spent, deltas[run])
        if retailers in {2, len(spent)} and retailers > 1
    )


def _by_unit(book: PrivacyLedger) -> dict[str, _Spent]:
    """What one book says, for units that several retailers can have."""
    sharing = {row.run for row in book.runs() if _customers_share_noise(row)}
    found: dict[str, _Spent] = defaultdict(_Spent)
    for release in _charged(book):
        mechanism = release.mechanism
        assert mechanism is not None
        paid = found[mechanism.unit]
        if release.run in sharing:
            paid.shared[_free(paid.shared, release.run, release.round)] = mechanism
        else:
            paid.own.append(mechanism)
    found.pop("member", None)
    return dict(found)


def _customers_share_noise(row: RunRow) -> bool:
    covers = row.unit is not None and privacy_unit(row.unit).covers_customers
    return covers and mechanism_kind(row.dp, row.unit).shares_noise


def _charged(book: PrivacyLedger) -> Iterable[ReleaseRow]:
    for data_set in book.data_sets():
        releases = book.releases(data_set.number)
        yield from (release for release in releases if release.mechanism is not None)


def _free(taken: dict[Sum, Mechanism], run: str, number: int) -> Sum:
    again = 0
    while (run, number, again) in taken:
        again += 1
    return run, number, again


def _at_most(spent: Sequence[_Spent], delta: float) -> Iterator[tuple[int, float | None]]:
    """For 1, 2, ... of the retailers, the bound."""
    yield 1, max(compose(one.all, delta, ACCOUNTANT) for one in spent)
    dearest = sorted(spent, key=lambda one: -compose(one.own, delta, ACCOUNTANT))
    sums: dict[Sum, list[Mechanism]] = defaultdict(list)
    for one in spent:
        for place, mechanism in one.shared.items():
            sums[place].append(mechanism)
    for retailers in range(2, len(spent) + 1):
        charges: Counter[tuple[Mechanism, int]] = Counter()
        for one in dearest[:retailers]:
            for mechanism in one.own:
                charges[_of_one_step(mechanism), 1] += mechanism.steps
        for found in sums.values():
            worst = min(found, key=lambda mechanism: mechanism.noise_multiplier)
            charges[_of_one_step(worst), min(retailers, len(found))] += worst.steps
        epsilon = compose_shared(charges, delta)
        yield retailers, epsilon if math.isfinite(epsilon) else None


def _of_one_step(mechanism: Mechanism) -> Mechanism:
    return mechanism.model_copy(update={"steps": 1})
