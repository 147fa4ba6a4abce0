"""What a member recorded as spent, priced once more by the second accountant.

The recorded epsilon is an upper bound by Renyi divergences or by Opacus' PRV accountant. The
second accountant is tighter than the first and as tight as the second, so an honest record is
never below it by more than the error of the numbers. With Skellam noise in an account, both are
bounds by Renyi divergences, computed apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from securefl.audit.accountants.pld import SMALLEST_DELTA, Composition
from securefl.audit.accountants.skellam_rdp import AnyStep, SkellamStep, Step, renyi_epsilon
from securefl.consortium.ledger.composition import SAMPLED_GAUSSIAN, SAMPLED_SKELLAM
from securefl.consortium.ledger.events import Mechanism, SkellamMechanism

_ABSOLUTE, _RELATIVE = 1e-3, 1e-3
_MOST_KINDS = 128
"""Each kind of step takes about two megabytes while it is priced."""
_SMALLEST_RATE, _LARGEST_NOISE = 1e-6, 1e4
"""Beyond these a step is priced as if it were at the bound, which is more than it costs."""


class UnpricedError(Exception):
    """There is no price for a mechanism; the text says why."""


class BeyondReachError(UnpricedError):
    """There is a price, and this accountant cannot compute it."""


@dataclass(frozen=True)
class Claim:
    """What a member says it had spent at one point.

    Attributes:
        where: The entry that says so.
        mechanisms: What came on top of the claim before.
        epsilon: What it recorded for all of them together.
    """

    where: str
    mechanisms: Sequence[Mechanism]
    epsilon: float


def tolerance(epsilon: float) -> float:
    """By how much the second accountant may be above a record before that counts as too low."""
    return _ABSOLUTE + _RELATIVE * epsilon


def exceeded(epsilon: float, bound: float) -> bool:
    """Whether an epsilon is above a bound by more than the error of the numbers."""
    return epsilon > bound + tolerance(bound)


def epsilon_of(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Epsilon of the composition by the second accountant.

    Raises:
        UnpricedError: If a mechanism is unknown, or delta too small for it.
    """
    return _priced(_key(_steps(mechanisms)), _key(_steps(mechanisms)), _checked(delta))


def under_reported(claims: Sequence[Claim], delta: float) -> Iterator[tuple[Claim, float]]:
    """The claims that the second accountant comes out above, with what it comes to.

    Epsilon only grows. So where one claim is no less than the price at a later point, nothing
    before that point has to be priced by itself.

    Raises:
        UnpricedError: If a mechanism is unknown, or delta too small for it.
    """
    totals: list[Counter[AnyStep]] = []
    for claim in claims:
        totals.append((totals[-1] if totals else Counter()) + _steps(claim.mechanisms))
    prices = _Prices(claims, totals, _checked(delta))
    yield from prices.faults(0, len(claims))


@dataclass(frozen=True)
class _Prices:
    """Claims, with the steps that had been taken at each."""

    claims: Sequence[Claim]
    totals: Sequence[Counter[AnyStep]]
    delta: float

    def faults(self, first: int, end: int) -> Iterator[tuple[Claim, float]]:
        """The faults among the claims from `first` to before `end`."""
        if first >= end:
            return
        last = self.claims[end - 1]
        epsilon = _priced(_key(self.totals[end - 1]), _key(self.totals[-1]), self.delta)
        if any(exceeded(epsilon, claim.epsilon) for claim in self.claims[first : end - 1]):
            middle = (first + end) // 2
            yield from self.faults(first, middle)
            yield from self.faults(middle, end - 1)
        if exceeded(epsilon, last.epsilon):
            yield last, epsilon


def _checked(delta: float) -> float:
    if not SMALLEST_DELTA <= delta < 1:
        raise BeyondReachError(f"delta {delta:g} is too small for the second accountant")
    return delta


def _steps(mechanisms: Sequence[Mechanism]) -> Counter[AnyStep]:
    """The steps of each kind.

    Raises:
        UnpricedError: If a mechanism has no price.
    """
    steps: Counter[AnyStep] = Counter()
    for mechanism in mechanisms:
        steps[_step(mechanism)] += mechanism.steps
    if len(steps) > _MOST_KINDS:
        raise BeyondReachError(f"{len(steps)} kinds of steps are too many to be priced again")
    return steps


def _step(mechanism: Mechanism) -> AnyStep:
    rate = max(mechanism.sampling_rate, _SMALLEST_RATE)
    if mechanism.name == SAMPLED_SKELLAM and isinstance(mechanism, SkellamMechanism):
        return SkellamStep(mechanism.variance, mechanism.sensitivity, mechanism.coordinates, rate)
    if mechanism.name != SAMPLED_GAUSSIAN:
        raise UnpricedError(f"no price is known for the mechanism '{mechanism.name}'")
    return min(mechanism.noise_multiplier, _LARGEST_NOISE), rate


def _key(steps: Mapping[AnyStep, int]) -> tuple[tuple[AnyStep, int], ...]:
    return tuple(sorted(steps.items()))


@lru_cache(maxsize=2)
def _composition(most: tuple[tuple[Step, int], ...]) -> Composition:
    return Composition(dict(most))


@lru_cache(maxsize=1 << 12)
def _priced(
    steps: tuple[tuple[AnyStep, int], ...], most: tuple[tuple[AnyStep, int], ...], delta: float
) -> float:
    gaussian = {step: n for step, n in steps if not isinstance(step, SkellamStep)}
    if len(gaussian) < len(steps):
        return renyi_epsilon(dict(steps), delta)
    known = tuple((step, n) for step, n in most if not isinstance(step, SkellamStep))
    try:
        return _composition(known).epsilon(gaussian, delta)
    except ModuleNotFoundError as error:
        # No figure must not look like a small one: the check that prices then doubts.
        raise BeyondReachError(f"the second accountant needs the package {error.name}") from None
    except (ValueError, ArithmeticError) as error:
        raise BeyondReachError(f"the second accountant cannot price this: {error}") from None
