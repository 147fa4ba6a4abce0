"""The privacy summary of a run: from the members' accounts to a result and a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration
from securefl.federation import messages as m
from securefl.federation.runs.result import MemberPrivacy, RunPrivacy
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.spent import privacy_unit, shown_customer_epsilon
from securefl.privacy.mechanisms import mechanism_for

if TYPE_CHECKING:  # Opacus takes seconds to import, and only a budget needs it
    from securefl.privacy.accounting.accountant import AccountantName


def run_privacy(config: RunConfig, accounts: Mapping[str, m.BudgetResponse]) -> RunPrivacy | None:
    """Return the members' accounts for a run's result; None for a run without a budget."""
    if not accounts:
        return None
    settings, mechanism = config.privacy, mechanism_for(config.privacy)
    declared = declaration(config.task)
    does = mechanism.describe(declared.releases)
    if settings.insecure_testing_seed is not None:
        does += "; NOISE FROM A TEST SEED, WHICH PROTECTS NOBODY"
    return RunPrivacy(
        unit=settings.unit,
        protects=declared.protects(config.model.name, settings.unit),
        records_per_customer=mechanism.unit.records(settings),
        adjacency=mechanism.adjacency,
        mechanism=does,
        against=mechanism.against(),
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
                score_noise=account.score_noise,
            )
            for name, account in accounts.items()
        ),
    )


def composed_privacy(runs: Sequence[RunPrivacy]) -> RunPrivacy | None:
    """Return the composition of several runs on the same data; None if they had no budget.

    Each step counts with the least noise multiplier of its run, so that epsilon is an upper bound.
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
    """Return the composed epsilon of one member's runs, and that for a customer of it."""
    if "Skellam" in privacy.mechanism:
        # Its epsilon does not follow from its deviation alone; the ledger has the composed one.
        life = max(account.life for account in accounts)
        return life, life if privacy_unit(privacy.unit).covers_customers else None
    # Opacus takes seconds to import, and runs without a budget have no use for it.
    from securefl.privacy.accounting.accountant import epsilon_of

    accountant = cast("AccountantName", privacy.accountant)
    events = [event for account in accounts for event in _events(account)]
    return epsilon_of(events, privacy.delta, accountant), privacy_unit(
        privacy.unit
    ).customer_epsilon(events, privacy.delta, accountant, privacy.records_per_customer)


def _events(account: MemberPrivacy) -> list[SampledGaussian]:
    """Return a run's steps, each with its least noise multiplier, and its scores."""
    trained = SampledGaussian(account.noise_multiplier, account.sampling_rate, account.steps)
    if account.score_noise is None:
        return [trained]
    return [trained, SampledGaussian(account.score_noise, sampling_rate=1.0, steps=1)]


def _at_two_retailers(privacy: RunPrivacy, accounts: Sequence[MemberPrivacy]) -> float | None:
    if "Skellam" in privacy.mechanism or accounts[0].two_retailers_epsilon is None:
        return None
    from securefl.privacy.accounting.group_privacy import shared_epsilon

    events = [event for account in accounts for event in _events(account)]
    found = shared_epsilon([(event, 2) for event in events], privacy.delta)
    return found if math.isfinite(found) else None


def guarantee(privacy: RunPrivacy) -> str:
    """Return the guarantee in one clause."""
    if "TEST SEED" in privacy.mechanism:
        return "NOT PROTECTED: the noise came from a test seed, which anyone can repeat"
    return (
        f"({privacy.largest_epsilon:.2f}, {privacy.delta:g})-differential privacy for every"
        f" {privacy_unit(privacy.unit).of_whom} ({privacy.protects}){_beside(privacy)}, against"
        f" {privacy.against} (the"
        f" {privacy.accountant.upper()} accountant; released scores are covered, the exact"
        " tables of a simulation are not)"
    )


def _at_two(privacy: RunPrivacy) -> str:
    """Return the clause about shared noise for a customer of two retailers."""
    known = [member.two_retailers_epsilon for member in privacy.members]
    if "shares" not in privacy.mechanism or not known:
        return ""
    largest = None if None in known else max(epsilon for epsilon in known if epsilon is not None)
    return (
        "; the noise is shared, and for a customer of two retailers epsilon is"
        f" {shown_customer_epsilon(largest)}"
    )


def _beside(privacy: RunPrivacy) -> str:
    """Return the clause about whole customers, where another unit is protected."""
    if privacy_unit(privacy.unit).covers_customers:
        return _at_two(privacy)
    known = [member.customer_epsilon for member in privacy.members]
    largest = None if None in known else max(epsilon for epsilon in known if epsilon is not None)
    if privacy.records_per_customer is None:
        return f"; for a customer of one member, epsilon is {shown_customer_epsilon(largest)}"
    return (
        f"; for a whole customer, of whom {privacy.records_per_customer} records count at most,"
        f" epsilon is {shown_customer_epsilon(largest)}"
    )
