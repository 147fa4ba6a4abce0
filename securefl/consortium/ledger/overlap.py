"""Privacy loss of customers of several retailers (cross-silo user overlap).

Independent noise of each retailer composes as usual. Noise shared by all retailers is added once,
while a customer of r retailers changes the sum r times. No party knows the overlap, so the result
is an upper bound for any r: for independent releases, the charges of the r retailers that spent
most; for every shared sum, participation at as many retailers as possible.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from securefl.consortium.ledger.account_statements import ACCOUNTANT, ledgers_in
from securefl.consortium.ledger.composition import compose, compose_shared
from securefl.consortium.ledger.events import Mechanism
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, ReleaseRow, RunRow
from securefl.privacy.accounting.spent import privacy_unit
from securefl.privacy.mechanisms import mechanism_kind

Sum = tuple[str, int, int]
"""Run id, round, and index of the charge where a member was charged twice in the round."""


@dataclass(frozen=True)
class SharedCustomer:
    """Worst-case privacy loss of a customer of several retailers.

    Attributes:
        unit: Privacy unit.
        retailers: Number of retailers that have the customer.
        epsilon: Upper bound of their epsilon at `delta`; None where no bound is known.
        delta: Delta of `epsilon`.
    """

    unit: str
    retailers: int
    epsilon: float | None
    delta: float


@dataclass(frozen=True)
class SharedRun:
    """Privacy loss of a customer of several retailers in one run under shared noise.

    Attributes:
        run: Run id, hex.
        retailers: Number of retailers that have the customer.
        epsilon: Upper bound of their epsilon at `delta`; None where no bound is known.
        delta: Delta of the run.
    """

    run: str
    retailers: int
    epsilon: float | None
    delta: float


@dataclass
class _Spent:
    """Charges to one privacy unit at one retailer.

    Attributes:
        own: Mechanisms with the retailer's own noise.
        shared: Mechanisms with shared noise, by sum.
    """

    own: list[Mechanism] = field(default_factory=list)
    shared: dict[Sum, Mechanism] = field(default_factory=dict)

    @property
    def all(self) -> list[Mechanism]:
        return [*self.own, *self.shared.values()]


def shared_customers(folder: Path, delta: float | None = None) -> tuple[SharedCustomer, ...]:
    """Return the worst-case privacy loss of a customer of 1, 2, ... retailers.

    Args:
        folder: Folder of the ledgers.
        delta: Delta of the results; the smallest of all runs if not given.

    Raises:
        InputError: If a ledger is damaged.
    """
    spent: dict[str, list[_Spent]] = defaultdict(list)
    deltas = []
    for _, ledger in ledgers_in(folder, None):
        for unit, charges in _by_unit(ledger).items():
            spent[unit].append(charges)
        deltas += [row.delta for row in ledger.runs() if row.delta is not None]
    if not spent:
        return ()
    at = min(deltas) if delta is None else delta
    return tuple(
        SharedCustomer(unit, retailers, epsilon, at)
        for unit in sorted(spent)
        for retailers, epsilon in _at_most(spent[unit], at)
    )


def shared_runs(folder: Path) -> tuple[SharedRun, ...]:
    """Return the loss in every run with shared noise, for 2 and for all of its retailers.

    Raises:
        InputError: If a ledger is damaged.
    """
    deltas: dict[str, float] = {}
    runs: dict[str, list[_Spent]] = defaultdict(list)
    for _, ledger in ledgers_in(folder, None):
        deltas |= {row.run: row.delta for row in ledger.runs() if row.delta is not None}
        charges = _by_unit(ledger).get("customer", _Spent())
        for run in {key[0] for key in charges.shared}:
            part = {key: charge for key, charge in charges.shared.items() if key[0] == run}
            runs[run].append(_Spent(shared=part))
    return tuple(
        SharedRun(run, retailers, epsilon, deltas[run])
        for run, spent in runs.items()
        for retailers, epsilon in _at_most(spent, deltas[run])
        if retailers in {2, len(spent)} and retailers > 1
    )


def _by_unit(ledger: PrivacyLedger) -> dict[str, _Spent]:
    """Return the charges in one ledger, by privacy unit that retailers can have in common."""
    sharing = {row.run for row in ledger.runs() if _customers_share_noise(row)}
    found: dict[str, _Spent] = defaultdict(_Spent)
    for release in _charged(ledger):
        mechanism = release.mechanism
        assert mechanism is not None
        spent = found[mechanism.unit]
        if release.run in sharing:
            spent.shared[_free_key(spent.shared, release.run, release.round)] = mechanism
        else:
            spent.own.append(mechanism)
    # With the member as privacy unit, there is no unit that two members have in common.
    found.pop("member", None)
    return dict(found)


def _customers_share_noise(row: RunRow) -> bool:
    covers = row.unit is not None and privacy_unit(row.unit).covers_customers
    return covers and mechanism_kind(row.dp, row.unit).shares_noise


def _charged(ledger: PrivacyLedger) -> Iterable[ReleaseRow]:
    for data_set in ledger.data_sets():
        releases = ledger.releases(data_set.number)
        yield from (release for release in releases if release.mechanism is not None)


def _free_key(taken: dict[Sum, Mechanism], run: str, number: int) -> Sum:
    again = 0
    while (run, number, again) in taken:
        again += 1
    return run, number, again


def _at_most(spent: Sequence[_Spent], delta: float) -> Iterator[tuple[int, float | None]]:
    """Yield the upper bound for a customer of 1, 2, ... of the retailers."""
    yield 1, max(compose(one.all, delta, ACCOUNTANT) for one in spent)
    by_cost = sorted(spent, key=lambda one: -compose(one.own, delta, ACCOUNTANT))
    sums: dict[Sum, list[Mechanism]] = defaultdict(list)
    for one in spent:
        for key, mechanism in one.shared.items():
            sums[key].append(mechanism)
    for retailers in range(2, len(spent) + 1):
        charges: Counter[tuple[Mechanism, int]] = Counter()
        for one in by_cost[:retailers]:
            for mechanism in one.own:
                charges[_of_one_step(mechanism), 1] += mechanism.steps
        # One sum has one noise, but members may have recorded it differently: the least noise is
        # assumed, and that the customer is at every retailer of the sum.
        for found in sums.values():
            worst = min(found, key=lambda mechanism: mechanism.noise_multiplier)
            charges[_of_one_step(worst), min(retailers, len(found))] += worst.steps
        epsilon = compose_shared(charges, delta)
        yield retailers, epsilon if math.isfinite(epsilon) else None


def _of_one_step(mechanism: Mechanism) -> Mechanism:
    return mechanism.model_copy(update={"steps": 1})
