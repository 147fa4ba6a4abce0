"""Recomputation of recorded epsilons with the independent accountants.

A record is priced by another accountant than the one that charged it. What was charged by privacy
loss distributions (`pld`) is priced by Opacus' PRV, and all else by privacy loss distributions: the
closed form of full batches too. Both are as tight as the truth is, so an honest record is below
neither by more than the numerical error. An auditor without Opacus has one way to sampled
steps: the same distributions, computed anew on a grid four times as fine. With Skellam noise in an
account, both are Renyi bounds, from independent implementations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from securefl.audit.accountants.bounds import Comparison, compare, exceeded
from securefl.audit.accountants.prv import installed, prv_epsilon
from securefl.audit.accountants.skellam_rdp import AnyStep, SkellamStep, Step, renyi_epsilon
from securefl.consortium.ledger.composition import SAMPLED_GAUSSIAN, SAMPLED_SKELLAM
from securefl.consortium.ledger.event_base import Mechanism, SkellamMechanism
from securefl.privacy.accounting.pld import SMALLEST_DELTA, Composition

_MOST_KINDS = 128
"""Each kind of step takes about 2 MB during the computation; a record must not exhaust memory."""
_SMALLEST_RATE, _LARGEST_NOISE = 1e-6, 1e6
"""Beyond these limits a figure is computed at the limit, which over-estimates the loss. It accuses
nobody: what exceeds a record is compared with proved bounds of the steps as they are."""


class UnpricedError(Exception):
    """Raised if epsilon of a mechanism cannot be computed; the message states why."""


class BeyondReachError(UnpricedError):
    """Raised if epsilon is defined, but outside of what this accountant can compute."""


class MissingAccountantError(BeyondReachError):
    """Raised if the package of the second accountant is not installed."""


@dataclass(frozen=True)
class Claim:
    """A member's recorded epsilon at one point.

    Attributes:
        where: Location of the entry.
        mechanisms: Mechanisms added since the claim before.
        epsilon: Recorded epsilon of all mechanisms up to this point.
    """

    where: str
    mechanisms: Sequence[Mechanism]
    epsilon: float


def computed_by(mechanisms: Sequence[Mechanism], charged_by: str | None) -> str:
    """Return which accountant prices mechanisms that another one charged, for a finding."""
    sampled = any(mechanism.sampling_rate < 1 for mechanism in mechanisms)
    if charged_by == "pld" and sampled and not installed():
        return "the same accountant, computed anew"
    return "a second accountant"


def epsilon_of(mechanisms: Sequence[Mechanism], delta: float, charged_by: str | None) -> float:
    """Return epsilon of a composition by the independent accountant.

    Args:
        mechanisms: Of one privacy unit.
        delta: At least `SMALLEST_DELTA`.
        charged_by: The accountant of the record, which is not asked again.

    Raises:
        UnpricedError: If a mechanism is unknown, or delta is too small.
    """
    steps = _key(_steps(mechanisms))
    return _priced(steps, steps, _checked(delta), charged_by)


def under_reported(
    claims: Sequence[Claim], delta: float, charged_by: str | None
) -> Iterator[tuple[Claim, float]]:
    """Yield the claims below the recomputed epsilon, with that epsilon.

    Whether they are provably too low is for `compared` to say: a figure may be too high.

    Epsilon is monotone in the mechanisms. Where a claim is at least the epsilon of a later point,
    it needs no computation of its own; honest records take one computation in all.

    Args:
        claims: In the order in which they were made.
        delta: At least `SMALLEST_DELTA`.
        charged_by: The accountant of the record, which is not asked again.

    Raises:
        UnpricedError: If a mechanism is unknown, or delta is too small.
    """
    totals: list[Counter[AnyStep]] = []
    for claim in claims:
        totals.append((totals[-1] if totals else Counter()) + _steps(claim.mechanisms))
    prices = _Prices(claims, totals, _checked(delta), charged_by)
    yield from prices.faults(0, len(claims))


@dataclass(frozen=True)
class _Prices:
    """Claims with the cumulative steps at each, searched by bisection."""

    claims: Sequence[Claim]
    totals: Sequence[Counter[AnyStep]]
    delta: float
    charged_by: str | None

    def faults(self, first: int, end: int) -> Iterator[tuple[Claim, float]]:
        """Yield the faults among the claims in [first, end)."""
        if first >= end:
            return
        last = self.claims[end - 1]
        epsilon = _priced(
            _key(self.totals[end - 1]), _key(self.totals[-1]), self.delta, self.charged_by
        )
        if any(exceeded(epsilon, claim.epsilon) for claim in self.claims[first : end - 1]):
            middle = (first + end) // 2
            yield from self.faults(first, middle)
            yield from self.faults(middle, end - 1)
        steps = self.totals[end - 1]
        if exceeded(epsilon, last.epsilon) and (
            _compared(steps, self.delta, last.epsilon) != "within"
        ):
            yield last, epsilon


def compared(mechanisms: Sequence[Mechanism], delta: float, bound: float) -> Comparison:
    """Return whether epsilon of a composition is provably within a bound, or above it.

    Raises:
        UnpricedError: If a mechanism is unknown, or delta is too small.
    """
    return _compared(_steps(mechanisms), _checked(delta), bound)


def _compared(steps: Mapping[AnyStep, int], delta: float, bound: float) -> Comparison:
    try:
        return compare(steps, delta, bound)
    except ArithmeticError:  # numbers beyond the arithmetic prove nothing, in neither direction
        return "unknown"


def _checked(delta: float) -> float:
    if not SMALLEST_DELTA <= delta < 1:
        raise BeyondReachError(f"delta {delta:g} is too small for the second accountant")
    return delta


def _steps(mechanisms: Sequence[Mechanism]) -> Counter[AnyStep]:
    """Return the number of steps by kind.

    Raises:
        UnpricedError: If a mechanism is unknown.
    """
    steps: Counter[AnyStep] = Counter()
    for mechanism in mechanisms:
        steps[_step(mechanism)] += mechanism.steps
    if len(steps) > _MOST_KINDS:
        raise BeyondReachError(f"{len(steps)} kinds of steps are too many to be priced again")
    return steps


def _step(mechanism: Mechanism) -> AnyStep:
    rate = mechanism.sampling_rate
    if mechanism.name == SAMPLED_SKELLAM and isinstance(mechanism, SkellamMechanism):
        return SkellamStep(mechanism.variance, mechanism.sensitivity, mechanism.coordinates, rate)
    if mechanism.name != SAMPLED_GAUSSIAN:
        raise UnpricedError(f"no price is known for the mechanism '{mechanism.name}'")
    return mechanism.noise_multiplier, rate


def _within_limits(steps: Iterable[tuple[AnyStep, int]]) -> Counter[Step]:
    """Return the Gaussian steps, each no farther out than the limits."""
    found: Counter[Step] = Counter()
    for step, count in steps:
        if not isinstance(step, SkellamStep):
            found[min(step[0], _LARGEST_NOISE), max(step[1], _SMALLEST_RATE)] += count
    return found


def _key(steps: Mapping[AnyStep, int]) -> tuple[tuple[AnyStep, int], ...]:
    return tuple(sorted(steps.items()))


def _asks_prv(steps: Iterable[Step], charged_by: str | None) -> bool:
    return charged_by == "pld" and any(rate < 1 for _, rate in steps) and installed()


@lru_cache(maxsize=2)
def _composition(most: tuple[tuple[Step, int], ...]) -> Composition:
    return Composition(dict(most))


@lru_cache(maxsize=1 << 12)
def _priced(
    steps: tuple[tuple[AnyStep, int], ...],
    most: tuple[tuple[AnyStep, int], ...],
    delta: float,
    charged_by: str | None,
) -> float:
    gaussian, known = _within_limits(steps), tuple(sorted(_within_limits(most).items()))
    try:
        if any(isinstance(step, SkellamStep) for step, _ in steps):
            return renyi_epsilon(dict(steps), delta)
        # Without sampling the record has a closed form: the loss distribution is another way to it.
        if _asks_prv(gaussian, charged_by):
            return prv_epsilon(gaussian, delta)
        return _composition(known).epsilon(gaussian, delta)
    except ModuleNotFoundError as error:
        # A missing figure must not pass as a small one: `epsilon_recomputed` turns this into WARN.
        missing = f"the second accountant needs the package {error.name}"
        raise MissingAccountantError(missing) from None
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise BeyondReachError(f"the second accountant cannot price this: {error}") from None
