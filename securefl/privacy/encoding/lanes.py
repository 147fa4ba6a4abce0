"""The one place that derives what a coordinate of a masked sum looks like: bits, step and range.

Everything here follows from public numbers that all members agreed on: the number of members of a
cohort, the largest change and the largest sample count or, under noise shares, the step, the
largest signal and the variance of a share. `FixedPoint` refuses a format whose sum could wrap; so
does the plan of the session, a second time. docs/specification/protocol.md, M41, has the proof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from securefl.config.privacy import protects
from securefl.config.schema import RunConfig, SecureSettings
from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.primitives.ring import RingDtype

LOSS_RANGE: Final = 1 << 20
"""Largest training loss that can be summed; it is telemetry."""
LOSS_STEP: Final = 1 << 20
"""Losses are summed in multiples of one over it, exactly, whatever the width of a coordinate."""
ALWAYS_FINE: Final = 2.0**-13
"""Part of the largest change that 24 bits may lose where no tolerance was agreed."""
REFUSAL_BITS: Final = 100
"""A run in which no party cheats meets a noise share beyond its range with chance below 2^-100."""

_FORMATS_OF_UPDATES = (RingDtype.UINT24, RingDtype.UINT32, RingDtype.UINT64)


def update_encoding(config: RunConfig, members: int) -> FixedPoint:
    """Return the encoding of a cohort's weighted changes, without integer noise.

    With `bits = "auto"` it has the fewest bits that keep the agreed tolerance for the smallest
    sum of sample counts that was agreed. Without a tolerance it has 24 bits where they lose at
    most `ALWAYS_FINE` of the largest change, and 32 else.

    Args:
        config: What was agreed.
        members: Members of the cohort.

    Raises:
        PlanError: If the numbers do not fit the bits.
    """
    settings = config.secure
    # Under a budget counts are not released, and every member has weight 1.
    heaviest = 1 if protects(config.privacy.dp) else settings.max_samples

    def finest(ring: RingDtype) -> FixedPoint:
        return FixedPoint.finest(
            members=members,
            max_weight=heaviest,
            limit=settings.limit,
            ring=ring,
            at_random=settings.rounds_at_random and ring is not RingDtype.UINT64,
            exact=(heaviest * LOSS_RANGE * LOSS_STEP,),
        )

    if settings.bits != "auto":
        return finest(RingDtype(settings.bits))
    return _narrowest(settings, finest, members * _samples(settings, heaviest))


def _samples(settings: SecureSettings, heaviest: int) -> int:
    """Return the sample count of a member that lanes are chosen for."""
    return min(heaviest, max(1, settings.min_samples, settings.expected_samples))


def described(config: RunConfig, members: int) -> str:
    """Return what is known beforehand of a sum of all members: bits, and the error that they leave.

    Raises:
        PlanError: If the numbers do not fit the bits.
    """
    settings = config.secure
    if config.privacy.needs_masks:
        return (
            "the fewest bits that hold signal and noise"
            if settings.bits == "auto"
            else (f"{settings.bits} bits, or no run where signal and noise do not fit them")
        )
    found = update_encoding(config, members)
    samples = _samples(settings, found.max_weight)
    error = found.error_bound(members, members * samples)
    return (
        f"{found.ring.value} bits a coordinate; a mean change is off by at most {error:.1g} where"
        f" members have {samples:,} samples each, with more by less"
    )


def _narrowest(
    settings: SecureSettings, finest: Callable[[RingDtype], FixedPoint], least: int
) -> FixedPoint:
    """Return the format of the fewest bits that are exact enough for a sum of sample counts."""
    agreed = settings.tolerance
    *narrow, widest = _FORMATS_OF_UPDATES if agreed is not None else _FORMATS_OF_UPDATES[:2]
    allowed = settings.limit * ALWAYS_FINE if agreed is None else agreed
    for ring in narrow:
        with suppress(PlanError):
            found = finest(ring)
            if found.error_bound(found.members, least) <= allowed:
                return found
    return finest(widest)


def noised_encoding(
    config: RunConfig, members: int, fraction_bits: int, signal: float, reach: int
) -> FixedPoint:
    """Return the encoding of integers that carry noise shares; every member has weight 1.

    The step follows from the noise and not from the bits. With `bits = "auto"` the fewest bits are
    taken in which no sum of so many members can wrap.

    Args:
        config: What was agreed.
        members: Members of the cohort.
        fraction_bits: f; integers are multiples of 2^-f.
        signal: Largest absolute value of a coordinate before noise.
        reach: Largest absolute value of a noise share, from `noise_reach`.

    Raises:
        PlanError: If the numbers do not fit the bits.
    """
    settings = config.secure
    largest = math.ceil(math.ldexp(signal, fraction_bits)) + reach
    fitting: Iterable[RingDtype] = (
        [ring for ring in RingDtype if members * largest <= ring.largest] or [RingDtype.UINT64]
        if settings.bits == "auto"
        else [RingDtype(settings.bits)]
    )
    return FixedPoint(
        members=members,
        max_weight=1,
        limit=math.ldexp(largest, -fraction_bits),
        ring=min(fitting),
        fraction_bits=fraction_bits,
        exact=(LOSS_RANGE * LOSS_STEP,),
    )


def noise_reach(variance: int, draws: int) -> int:
    """Return what a noise share stays below in absolute value, but for a chance of 2^-100.

    By Chernoff's bound, P(|X| >= t) <= 2 exp(-(t asinh(t / v) - v (sqrt(1 + (t / v)^2) - 1))) for a
    Skellam law of variance v, whose cumulants are v (cosh s - 1). It holds for a sum of
    discrete Gaussians of that variance too, whose cumulants are at most v s^2 / 2 (Canonne, Kamath
    and Steinke 2020) and so smaller.

    A member refuses a share beyond it and sends nothing, so that no sum wraps, ever; the chance
    that this happens in a run is far below every delta.

    Args:
        variance: v of a share, in squared integer units.
        draws: Coordinates of all members in all rounds.
    """
    needed = (REFUSAL_BITS + 1) * math.log(2) + math.log(max(1, draws))
    low, high = 0, 1
    while _exponent(high, variance) < needed:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _exponent(middle, variance) < needed else (low, middle)
    return high


def _exponent(distance: int, variance: int) -> float:
    ratio = distance / variance
    # sqrt(1 + r^2) - 1 loses all digits of a small r in this form, but not in the next.
    tail = ratio * ratio / (math.hypot(1.0, ratio) + 1.0)
    return distance * math.asinh(ratio) - variance * tail
