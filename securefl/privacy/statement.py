"""What protects the customers of a run: from the members' accounts to a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration
from securefl.privacy.accounting.spent import privacy_unit, shown_customer_epsilon
from securefl.privacy.mechanisms import mechanism_for

_MODES: Final = {
    "plain": "data stayed with each retailer, but the coordinator saw each one's updates",
    "secure": "data stayed with each retailer, and the coordinator saw only the sum of updates",
}


class Account(Protocol):
    """A member's account of a run; the fields are those of `MemberPrivacy`."""

    @property
    def epsilon(self) -> float:
        """See above."""

    @property
    def noise_multiplier(self) -> float:
        """See above."""

    @property
    def clip_norm(self) -> float:
        """See above."""

    @property
    def sampling_rate(self) -> float:
        """See above."""

    @property
    def steps(self) -> int:
        """See above."""

    @property
    def customer_epsilon(self) -> float | None:
        """See above."""

    @property
    def two_retailers_epsilon(self) -> float | None:
        """See above."""

    @property
    def life(self) -> float:
        """See above."""

    @property
    def cap(self) -> float | None:
        """See above."""

    @property
    def cap_delta(self) -> float | None:
        """See above."""

    @property
    def score_noise(self) -> float | None:
        """See above."""


@dataclass(frozen=True)
class MemberPrivacy:
    """The privacy account of a retailer's customers.

    Attributes:
        name: The member's name.
        epsilon: Spent on this run, at the run's delta.
        noise_multiplier: sigma; the noise on a step's sum has deviation sigma times the clip norm.
        clip_norm: Largest norm of a privacy unit's gradient.
        sampling_rate: Probability of a privacy unit to be in a step.
        steps: Private steps.
        customer_epsilon: Epsilon for a whole customer; None where no bound is known.
        two_retailers_epsilon: For a customer of two retailers under shared noise; None without it,
            or where no bound is known.
        life: Spent over the life of the data, earlier runs included, at the run's delta.
        cap: What its policy allows over the life of the data, at `cap_delta`; None without one.
        cap_delta: Delta of the cap.
        score_noise: Noise multiplier of the scores, in multiples of their sensitivity; None where
            none were released.
    """

    name: str
    epsilon: float
    noise_multiplier: float
    clip_norm: float
    sampling_rate: float
    steps: int
    customer_epsilon: float | None
    life: float
    two_retailers_epsilon: float | None = None
    cap: float | None = None
    cap_delta: float | None = None
    score_noise: float | None = None


@dataclass(frozen=True)
class RunPrivacy:
    """The privacy guarantee of a run.

    Attributes:
        unit: The privacy unit.
        protects: What a unit is in this task.
        records_per_customer: Largest number of records of one customer that count; None where the
            unit is the customer.
        adjacency: The neighbouring relation of data sets.
        mechanism: The mechanism.
        against: The adversary.
        accountant: The accountant that computed epsilon.
        delta: Probability with which the bound may fail.
        members: Each retailer's account; for a customer of several, their accounts compose.
    """

    unit: str
    protects: str
    records_per_customer: int | None
    adjacency: str
    mechanism: str
    against: str
    accountant: str
    delta: float
    members: tuple[MemberPrivacy, ...]

    @property
    def largest_epsilon(self) -> float:
        """The largest epsilon that a member has spent on this run."""
        return max(member.epsilon for member in self.members)


def run_privacy(config: RunConfig, accounts: Mapping[str, Account]) -> RunPrivacy | None:
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


def protection(privacy: RunPrivacy | None, mode: str) -> str:
    """Return what protected a run in one sentence; says so where nothing hides customers."""
    hidden = "no differential privacy" if privacy is None else guarantee(privacy)
    return f"{hidden}; mode {mode}: {_MODES[mode]}."


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
