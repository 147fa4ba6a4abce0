"""The privacy summary of a run: from the members' accounts to a result and a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.spent import privacy_unit
from securefl.privacy.statement import MemberPrivacy, RunPrivacy

if TYPE_CHECKING:  # Opacus takes seconds to import, and only a budget needs it
    from securefl.privacy.accounting.accountant import AccountantName


def composed_privacy(
    runs: Sequence[RunPrivacy], ballots: SampledGaussian | None = None
) -> RunPrivacy | None:
    """Return the composition of several runs on the same data; None if they had no budget.

    Each step counts with the least noise multiplier of its run, and each ballot that a run may hold
    counts as given, so that epsilon is an upper bound.

    Args:
        runs: The statements of the runs, of one configuration.
        ballots: What all ballots of one run are charged as; None where they cost nothing.
    """
    if not runs:
        return None
    accounts = zip(*(privacy.members for privacy in runs), strict=True)
    beside = [] if ballots is None else [ballots] * len(runs)
    members = tuple(_composed_member(runs[0], account, beside) for account in accounts)
    return replace(runs[0], members=members)


def _composed_member(
    privacy: RunPrivacy, accounts: Sequence[MemberPrivacy], beside: Sequence[SampledGaussian]
) -> MemberPrivacy:
    epsilon, customer_epsilon = _together(privacy, accounts, beside)
    return replace(
        accounts[0],
        epsilon=epsilon,
        two_retailers_epsilon=_at_two_retailers(privacy, accounts, beside),
        customer_epsilon=customer_epsilon,
        noise_multiplier=min(account.noise_multiplier for account in accounts),
        steps=sum(account.steps for account in accounts),
        life=max(account.life for account in accounts),
    )


def _together(
    privacy: RunPrivacy, accounts: Sequence[MemberPrivacy], beside: Sequence[SampledGaussian]
) -> tuple[float, float | None]:
    """Return the composed epsilon of one member's runs, and that for a customer of it."""
    if "Skellam" in privacy.mechanism:
        # Its epsilon does not follow from its deviation alone; the ledger has the composed one.
        life = max(account.life for account in accounts)
        return life, life if privacy_unit(privacy.unit).covers_customers else None
    # Opacus takes seconds to import, and runs without a budget have no use for it.
    from securefl.privacy.accounting.accountant import epsilon_of

    accountant = cast("AccountantName", privacy.accountant)
    events = _all_events(accounts, beside)
    return epsilon_of(events, privacy.delta, accountant), privacy_unit(
        privacy.unit
    ).customer_epsilon(events, privacy.delta, accountant, privacy.records_per_customer)


def _all_events(
    accounts: Sequence[MemberPrivacy], beside: Sequence[SampledGaussian]
) -> list[SampledGaussian]:
    return [*(event for account in accounts for event in _events(account)), *beside]


def _events(account: MemberPrivacy) -> list[SampledGaussian]:
    """Return a run's steps, each with its least noise multiplier, and its scores."""
    trained = SampledGaussian(account.noise_multiplier, account.sampling_rate, account.steps)
    if account.score_noise is None:
        return [trained]
    return [trained, SampledGaussian(account.score_noise, sampling_rate=1.0, steps=1)]


def _at_two_retailers(
    privacy: RunPrivacy, accounts: Sequence[MemberPrivacy], beside: Sequence[SampledGaussian]
) -> float | None:
    if "Skellam" in privacy.mechanism or accounts[0].two_retailers_epsilon is None:
        return None
    from securefl.privacy.accounting.group_privacy import shared_epsilon

    events = _all_events(accounts, beside)
    found = shared_epsilon([(event, 2) for event in events], privacy.delta)
    return found if math.isfinite(found) else None
