"""The one composition of privacy losses over members, units and mechanisms.

Statements from ledgers (`budget show`), explanations of bundles and audits all ask here what is
composed for whom; they differ only in the accountant that prices it.

Independent noise of each retailer composes as usual. Noise shared by all retailers is added once,
while a customer of r retailers changes the sum r times (`group_privacy.shared_epsilon`). Charges to
another privacy unit count for this one by what they say of it, and without a bound where they say
nothing; they never count as free.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from securefl.consortium.ledger.composition import compose, compose_shared
from securefl.consortium.ledger.event_base import Mechanism, SkellamMechanism

Sum = tuple[str, int, int]
"""Run id, round, and index of the charge where a member was charged twice in the round."""
Charges = Mapping[tuple[Mechanism, int], int]
"""Number of steps, by mechanism (of one step) and by the number of times that it meets a unit."""
Accountant = Callable[[Charges], float | None]
"""Prices charges; None or infinity where no bound is known."""
ACCOUNTANT = "pld"
"""Accountant of statements over runs with different ones; a bound of whatever they charged."""


@dataclass
class Spent:
    """What one retailer has charged, as far as it concerns one privacy unit.

    Attributes:
        own: Mechanisms with the retailer's own noise.
        shared: Mechanisms with noise that retailers share, by sum.
        unbounded: Whether a charge to another unit has no known bound for this one.
    """

    own: list[Mechanism] = field(default_factory=list)
    shared: dict[Sum, Mechanism] = field(default_factory=dict)
    unbounded: bool = False

    @property
    def all(self) -> list[Mechanism]:
        """Return all mechanisms."""
        return [*self.own, *self.shared.values()]

    def add(self, unit: str, mechanism: Mechanism, shared: tuple[str, int] | None = None) -> None:
        """Add a charge, converted to a unit where it was charged to another.

        Args:
            unit: The privacy unit that all is counted for.
            mechanism: The charged mechanism.
            shared: Run and round of the sum, where retailers shared the noise.
        """
        counted = counted_for(unit, mechanism)
        if counted is None:
            self.unbounded = True
        elif shared is None:
            self.own.append(counted)
        else:
            again = 0
            while (*shared, again) in self.shared:
                again += 1
            self.shared[*shared, again] = counted


def counted_for(unit: str, mechanism: Mechanism) -> Mechanism | None:
    """Return what a charge costs another privacy unit of the same data; None without a bound.

    With and without one customer's data a member's update is some vector of norm at most C, and so
    is a customer's contribution with and without one of their records: the sum moves by up to 2 C,
    where the charge is for C. That this happens in a sample only is not used, so the rate is 1
    (docs/explanation/privacy-distributed.md, "A whole member as the unit"). Of records the reverse
    is not true: how many a customer has is not recorded with the charge.
    """
    if mechanism.unit == unit:
        return mechanism
    wider = {"record": ("customer", "member"), "customer": ("member",)}
    if mechanism.unit not in wider.get(unit, ()):
        return None
    fields = {
        "unit": unit,
        "noise_multiplier": mechanism.noise_multiplier / 2,
        "sampling_rate": 1.0,
    }
    if isinstance(mechanism, SkellamMechanism):
        fields["sensitivity"] = 2 * mechanism.sensitivity
    return mechanism.model_copy(update=fields)


def at_most(spent: Sequence[Spent], price: Accountant) -> Iterator[tuple[int, float | None]]:
    """Yield the upper bound for a customer of 1, 2, ... of the retailers, whatever they share.

    For independent releases, that is the charges of the retailers that spent most; for every shared
    sum, that the customer is at as many of its retailers as possible.
    """
    alone = {id(one): price(charges(one.all)) for one in spent}
    yield 1, _largest(None if one.unbounded else alone[id(one)] for one in spent)
    own = {id(one): _comparable(price(charges(one.own))) for one in spent}
    by_cost = sorted(spent, key=lambda one: (-one.unbounded, -own[id(one)]))
    sums: dict[Sum, list[Mechanism]] = defaultdict(list)
    for one in spent:
        for key, mechanism in one.shared.items():
            sums[key].append(mechanism)
    for retailers in range(2, len(spent) + 1):
        chosen = by_cost[:retailers]
        total = Counter(charges(m for one in chosen for m in one.own))
        # One sum has one noise, but members may have recorded it differently: the least noise is
        # assumed, and that the customer is at every retailer of the sum.
        for found in sums.values():
            worst = min(found, key=lambda one: (one.noise_multiplier, -one.steps))
            total[_of_one_step(worst), min(retailers, len(found))] += worst.steps
        unbounded = any(one.unbounded for one in chosen)
        yield retailers, None if unbounded else _known(price(total))


def ledger_price(delta: float) -> Accountant:
    """Return the accountant of statements from ledgers, at a delta."""
    return partial(_priced, delta)


def _priced(delta: float, found: Charges) -> float:
    if all(count == 1 for _, count in found):
        steps = [one.model_copy(update={"steps": n}) for (one, _), n in found.items()]
        return compose(steps, delta, ACCOUNTANT)
    return compose_shared(found, delta)


def charges(mechanisms: Iterable[Mechanism]) -> Charges:
    """Return the charges of mechanisms that each meet a unit once."""
    steps: Counter[tuple[Mechanism, int]] = Counter()
    for mechanism in mechanisms:
        steps[_of_one_step(mechanism), 1] += mechanism.steps
    return steps


def _of_one_step(mechanism: Mechanism) -> Mechanism:
    return mechanism.model_copy(update={"steps": 1})


def _largest(found: Iterable[float | None]) -> float | None:
    known = [_known(epsilon) for epsilon in found]
    bounded = [epsilon for epsilon in known if epsilon is not None]
    return max(bounded, default=0.0) if len(bounded) == len(known) else None


def _known(epsilon: float | None) -> float | None:
    return epsilon if epsilon is not None and math.isfinite(epsilon) else None


def _comparable(epsilon: float | None) -> float:
    return math.inf if epsilon is None else epsilon
