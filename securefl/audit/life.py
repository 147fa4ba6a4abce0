"""The privacy loss that a bundle records, composed as everywhere else (`ledger.life_loss`).

`explain`, `verify` and the report take their figures from here; the second accountant prices them
wherever it can, and the ledgers' accountant where a customer meets one noise several times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from securefl.audit.accountants.recompute import UnpricedError, epsilon_of
from securefl.audit.bundle.case import Log
from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.composition import as_event
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Charging, Release
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.consortium.ledger.life_loss import (
    Accountant,
    Charges,
    Spent,
    at_most,
    charges,
    ledger_price,
)
from securefl.errors import ConfigError
from securefl.privacy.mechanisms import mechanism_for, mechanism_kind


@dataclass(frozen=True)
class LifeLoss:
    """The loss of one privacy unit, as far as a bundle records it.

    Attributes:
        run: Largest epsilon of a unit of one member by this run alone; None without a bound.
        life: The same over the life of the data.
        everywhere_run: Epsilon of a customer of all members by this run alone; None without a
            bound, or where members have no unit in common.
        everywhere_life: The same over the life of all data, at most: of earlier noise, a bundle
            does not say whether members shared it, so it counts as shared where they record the
            same.
    """

    run: float | None
    life: float | None
    everywhere_run: float | None
    everywhere_life: float | None


def released(log: Log, member: str) -> list[Mechanism]:
    """Return the mechanisms that a member charged in the run, for updates and for scores."""
    return [mechanism for _, mechanism in log.charges(member)]


def life_loss(log: Log, settings: PrivacySettings) -> LifeLoss:
    """Return the loss of the agreed privacy unit by what members recorded, at the agreed delta."""
    price, unit = second_price(settings), settings.unit
    if not log.participants:
        return LifeLoss(None, None, None, None)  # nothing is recorded, which is not a loss of 0
    now = [_spent(log, member, unit, life=False) for member in log.participants]
    ever = [_spent(log, member, unit, life=True) for member in log.participants]
    run, life = dict(at_most(now, price)), dict(at_most(ever, price))
    # Members can have a customer in common, and neither a record nor a member.
    several = unit == "customer"
    return LifeLoss(
        run.get(1),
        life.get(1),
        run.get(len(now)) if several else None,
        life.get(len(ever)) if several else None,
    )


def customer_loss(log: Log, config: RunConfig) -> float | None:
    """Return the largest epsilon of a whole customer of one member by this run, at its delta.

    With customers as units it is the unit's own; None where no bound is known.
    """
    settings, unit = config.privacy, mechanism_for(config.privacy).unit
    try:
        found = [
            unit.customer_epsilon(
                [as_event(mechanism) for mechanism in released(log, member)],
                settings.delta,
                settings.accountant,
                unit.records(settings),
            )
            for member in log.participants
        ]
    except (LedgerError, ConfigError, ArithmeticError, ValueError):
        return None
    bounded = [epsilon for epsilon in found if epsilon is not None]
    return max(bounded, default=0.0) if len(bounded) == len(found) else None


def member_life(log: Log, member: str, settings: PrivacySettings) -> float | None:
    """Return epsilon over the life of one member's data; None without a bound."""
    _, start = log.starts[member]
    spent = _spent(log, member, start.unit or "", life=True)
    return None if spent.unbounded else second_price(settings)(charges(spent.all))


def _spent(log: Log, member: str, unit: str, *, life: bool) -> Spent:
    spent = Spent()
    if life and member not in log.starts:
        spent.unbounded = True  # it does not say what was before
    elif life:
        start = log.starts[member][1]
        for mechanism in (*start.history, *start.other_units):
            kind = mechanism.model_copy(update={"steps": 1}).model_dump_json()
            spent.add(unit, mechanism, (kind, 0) if unit == "customer" else None)
    agreed = log.bundle.agreement.agreement.config.privacy.dp
    for charged, mechanism in log.charges(member):
        event = charged.event
        assert isinstance(event, Charging)
        dp = event.dp if isinstance(event, Release) else agreed
        common = unit == "customer" and _shares_noise(dp, mechanism.unit)
        shared = (charged.entry.run, event.round) if common else None
        spent.add(unit, mechanism, shared)
    return spent


def _shares_noise(dp: str, unit: str) -> bool:
    try:
        return mechanism_kind(dp, unit).shares_noise
    except ConfigError:
        return True  # of an unknown mechanism the worse is assumed


def second_price(settings: PrivacySettings) -> Accountant:
    """Return the second accountant, at a delta; where one noise is met twice, that of ledgers."""
    return partial(_priced, settings.delta, settings.accountant)


def _priced(delta: float, charged_by: str, found: Charges) -> float | None:
    try:
        if any(count > 1 for _, count in found):
            return ledger_price(delta)(found)
        return epsilon_of(
            [one.model_copy(update={"steps": n}) for (one, _), n in found.items()],
            delta,
            charged_by,
        )
    except (UnpricedError, LedgerError, ConfigError):
        return None
