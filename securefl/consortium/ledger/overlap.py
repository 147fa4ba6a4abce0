"""Statements from ledgers on customers of several retailers (cross-silo user overlap).

No party knows the overlap, so a statement is an upper bound for any r retailers; `life_loss` has
the composition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from securefl.consortium.ledger.account_statements import ledgers_in
from securefl.consortium.ledger.life_loss import Spent, at_most, ledger_price
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.consortium.ledger.privacy_ledger_rows import ReleaseRow
from securefl.privacy.mechanisms import mechanism_kind


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


def shared_customers(folder: Path, delta: float | None = None) -> tuple[SharedCustomer, ...]:
    """Return the worst-case privacy loss of a customer of 1, 2, ... retailers.

    Args:
        folder: Folder of the ledgers.
        delta: Delta of the results; the smallest of all runs if not given.

    Raises:
        InputError: If a ledger is damaged.
    """
    spent: dict[str, list[Spent]] = defaultdict(list)
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
        for retailers, epsilon in at_most(spent[unit], ledger_price(at))
    )


def shared_runs(folder: Path) -> tuple[SharedRun, ...]:
    """Return the loss in every run with shared noise, for 2 and for all of its retailers.

    Raises:
        InputError: If a ledger is damaged.
    """
    deltas: dict[str, float] = {}
    runs: dict[str, list[Spent]] = defaultdict(list)
    for _, ledger in ledgers_in(folder, None):
        deltas |= {row.run: row.delta for row in ledger.runs() if row.delta is not None}
        charges = _by_unit(ledger).get("customer", Spent())
        for run in {key[0] for key in charges.shared}:
            part = {key: charge for key, charge in charges.shared.items() if key[0] == run}
            runs[run].append(Spent(shared=part))
    return tuple(
        SharedRun(run, retailers, epsilon, deltas[run])
        for run, spent in runs.items()
        for retailers, epsilon in at_most(spent, ledger_price(deltas[run]))
        if retailers in {2, len(spent)} and retailers > 1
    )


def _by_unit(ledger: PrivacyLedger) -> Mapping[str, Spent]:
    """Return what one ledger has charged, for each privacy unit that retailers can share."""
    sharing = {row.run for row in ledger.runs() if mechanism_kind(row.dp, row.unit).shares_noise}
    charged = [(release, release.mechanism) for release in _charged(ledger) if release.mechanism]
    # With the member as privacy unit, there is no unit that two members have in common.
    units = {mechanism.unit for _, mechanism in charged} - {"member"}
    found: dict[str, Spent] = {unit: Spent() for unit in units}
    for unit, spent in found.items():
        for release, mechanism in charged:
            # Retailers can have a customer in common, and no record.
            common = unit == "customer" and release.run in sharing
            shared = (release.run, release.round) if common else None
            spent.add(unit, mechanism, shared)
    return found


def _charged(ledger: PrivacyLedger) -> Iterator[ReleaseRow]:
    for data_set in ledger.data_sets():
        yield from ledger.releases(data_set.number)
