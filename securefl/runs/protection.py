"""How a run's customers were protected: from the members' accounts to a result and a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Final

from securefl import messages as m
from securefl.config.schema import RunConfig
from securefl.privacy.spending import adjacency_of, against
from securefl.privacy.units import mechanism_of, shown_customer_epsilon
from securefl.runs.result import MemberPrivacy, RunPrivacy
from securefl.tasks.registry import declaration

if TYPE_CHECKING:  # Opacus takes seconds to import, and only a budget needs it
    from securefl.privacy.events import PrivacyEvent


def run_privacy(config: RunConfig, accounts: Mapping[str, m.Spent]) -> RunPrivacy | None:
    """The members' accounts as they stand in a result; None for a run without a budget."""
    if not accounts:
        return None
    settings = config.privacy
    declared = declaration(config.task)
    mechanism = mechanism_of(declared.releases, settings)
    if settings.insecure_testing_seed is not None:
        mechanism += "; NOISE FROM A TEST SEED, WHICH PROTECTS NOBODY"
    return RunPrivacy(
        unit=settings.unit,
        protects=declared.protects(config.model.name, settings.unit),
        records_per_customer=settings.records_per_customer if settings.unit == "record" else None,
        adjacency=adjacency_of(settings.unit),
        mechanism=mechanism,
        against=against(settings),
        accountant=settings.accountant,
        delta=settings.delta,
        members=tuple(
            MemberPrivacy(
                name=name,
                epsilon=account.epsilon,
                noise_multiplier=account.noise_multiplier,
                clip_norm=account.clip_norm,
                sampling_rate=account.sampling_rate,
                steps=account.steps,
                customer_epsilon=account.customer_epsilon,
                two_retailers_epsilon=account.two_retailers_epsilon,
                life=account.life,
                cap=account.cap,
                cap_delta=account.cap_delta,
            )
            for name, account in accounts.items()
        ),
    )


def composed_privacy(runs: Sequence[RunPrivacy]) -> RunPrivacy | None:
    """What several runs on the same data have spent together; None if they had no budget.

    Each step is taken to have had the least noise of its run, which is never too little to charge.
    """
    if not runs:
        return None
    accounts = zip(*(privacy.members for privacy in runs), strict=True)
    members = tuple(_composed_member(runs[0], account) for account in accounts)
    return replace(runs[0], members=members)


def _composed_member(privacy: RunPrivacy, accounts: Sequence[MemberPrivacy]) -> MemberPrivacy:
    epsilon, customer_epsilon = _together(privacy, accounts)
    return replace(
        accounts[0],
        epsilon=epsilon,
        two_retailers_epsilon=_at_two_retailers(privacy, accounts),
        customer_epsilon=customer_epsilon,
        noise_multiplier=min(account.noise_multiplier for account in accounts),
        steps=sum(account.steps for account in accounts),
        life=max(account.life for account in accounts),
    )


def _together(privacy: RunPrivacy, accounts: Sequence[MemberPrivacy]) -> tuple[float, float | None]:
    """Epsilon of one member's runs, and what they come to for a customer of it."""
    if "Skellam" in privacy.mechanism:
        # Its price is not that of its deviation; the book has the whole of it.
        life = max(account.life for account in accounts)
        return life, life if privacy.unit == "customer" else None
    # Opacus takes seconds to import, and runs without a budget have no use for it.
    accounting = import_module("securefl.privacy.accounting")
    events = [
        accounting.SampledGaussian(a.noise_multiplier, a.sampling_rate, a.steps) for a in accounts
    ]
    epsilon: float = accounting.epsilon_of(events, privacy.delta, privacy.accountant)
    return epsilon, _for_a_customer(privacy, epsilon, events)


def _at_two_retailers(privacy: RunPrivacy, accounts: Sequence[MemberPrivacy]) -> float | None:
    if "Skellam" in privacy.mechanism or accounts[0].two_retailers_epsilon is None:
        return None
    gaussian = import_module("securefl.privacy.accounting").SampledGaussian
    events = [(gaussian(a.noise_multiplier, a.sampling_rate, a.steps), 2) for a in accounts]
    found: float = import_module("securefl.privacy.group").shared_epsilon(events, privacy.delta)
    return found if math.isfinite(found) else None


def _for_a_customer(
    privacy: RunPrivacy, epsilon: float, events: Sequence[PrivacyEvent]
) -> float | None:
    if privacy.unit == "customer":
        return epsilon
    group = import_module("securefl.privacy.group")
    if privacy.unit == "member":
        accounting = import_module("securefl.privacy.accounting")
        other = group.per_member_events(events)
        of_member: float = accounting.epsilon_of(other, privacy.delta, privacy.accountant)
        return of_member
    found: float = group.customer_epsilon(events, privacy.delta, privacy.records_per_customer)
    return found if math.isfinite(found) else None


_OF_WHOM: Final = {
    "customer": "customer of each retailer",
    "record": "record of each retailer",
    "member": "member",
}


def guarantee(privacy: RunPrivacy) -> str:
    """The guarantee in one clause."""
    if "TEST SEED" in privacy.mechanism:
        return "NOT PROTECTED: the noise came from a test seed, which anyone can repeat"
    return (
        f"({privacy.largest_epsilon:.2f}, {privacy.delta:g})-differential privacy for every"
        f" {_OF_WHOM[privacy.unit]} ({privacy.protects}){_beside(privacy)}, against"
        f" {privacy.against} (the"
        f" {privacy.accountant.upper()} accountant; the figures above are exact and not covered)"
    )


def _at_two(privacy: RunPrivacy) -> str:
    """What shared noise means for a customer whom two retailers know."""
    known = [member.two_retailers_epsilon for member in privacy.members]
    if "shares" not in privacy.mechanism or not known:
        return ""
    largest = None if None in known else max(epsilon for epsilon in known if epsilon is not None)
    return (
        "; the noise is shared, and for a customer of two retailers epsilon is"
        f" {shown_customer_epsilon(largest)}"
    )


def _beside(privacy: RunPrivacy) -> str:
    """What protecting another unit means for a customer."""
    if privacy.unit == "customer":
        return _at_two(privacy)
    known = [member.customer_epsilon for member in privacy.members]
    largest = None if None in known else max(epsilon for epsilon in known if epsilon is not None)
    if privacy.records_per_customer is None:
        return f"; for a customer of one member, epsilon is {shown_customer_epsilon(largest)}"
    return (
        f"; for a whole customer, of whom {privacy.records_per_customer} records count at most,"
        f" epsilon is {shown_customer_epsilon(largest)}"
    )
