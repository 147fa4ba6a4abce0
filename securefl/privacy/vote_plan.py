"""What members' ballots may cost under shared noise, and the noise that follows: public alone.

Under noise shares a member's own sum has too little noise to be judged by for free. Its projection
on the public direction of the round's change is one number: a privacy unit moves the member's sum
by at most its clip norm, and so moves the projection by no more (Cauchy-Schwarz). With Gaussian
noise of its own it is a release of sensitivity 1 at sampling rate 1, once a vote; the ballot is
computed from it. V such releases of noise multiplier sigma sqrt(V) cost what one of sigma costs.
"""

from __future__ import annotations

import math
from typing import Final

from securefl.config.schema import RunConfig
from securefl.config.vote_rounds import votes_held
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.encoding.gradients import SumEncoding, gradient_signal
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise.shares import NoisePlan, gaussian_shares, set_aside
from securefl.privacy.score_plan import least_multiplier

ROUNDING = 1.0
"""How much further a unit moves a projection that is rounded, in steps of its grid."""
_FINE: Final = 1024.0
"""Steps of its grid that a unit moves a projection by, at least, where sums have a finer one: the
rounding is a thousandth of that, and the noise is small enough to be drawn."""


def vote_event(config: RunConfig) -> SampledGaussian | None:
    """Return the event that all ballots of a run are charged as; None where they cost nothing.

    They do without a budget, and where each member's update has all its noise by itself: there a
    ballot is computed from released updates alone.
    """
    budget, count = vote_budget(config), votes_held(config)
    if budget is None or not count:
        return None
    sigma = least_multiplier(set_aside(budget)) * math.sqrt(count)
    return SampledGaussian(sigma, sampling_rate=1.0, steps=count)


def vote_budget(config: RunConfig) -> Budget | None:
    """Return the part of the budget that is reserved for ballots; None where they cost nothing."""
    settings = config.privacy
    if config.vote is None or not mechanism_for(settings).shares_noise:
        return None
    assert settings.epsilon is not None
    return Budget(config.vote.share * settings.epsilon, settings.delta)


def grid_shift(config: RunConfig, moved: float) -> int:
    """Return by how many bits the grid of a projection is coarser than that of the sums, 0 or more.

    Args:
        config: The run's configuration.
        moved: How far one unit moves the member's integers in a step, in the Euclidean norm.
    """
    return max(0, math.floor(math.log2(config.privacy.steps * moved / _FINE)))


def product_error(config: RunConfig, code: SumEncoding) -> float:
    """Return how far a computed projection can be from the exact one, in steps of the sum.

    With u = 2^-53, a product of d terms in float64 errs by at most g sum |x_i v_i|, in whatever
    order they are added, g = n u / (1 - n u) with n = d (Higham 2002, section 3.1); n = d + 1 also
    holds the conversion of each integer x_i. By Cauchy-Schwarz the sum is at most |x| |v|, and
    |v| <= 1. A coordinate is clipped to the signal S and rounded, so that |x_i| <= S 2^f + 1/2:

        g sqrt(d) (S 2^f + 1/2)

    Args:
        config: The run's configuration, whose unit is no member.
        code: The encoding of the member's sum: f and d.
    """
    terms = (code.coordinates + 1) * 2.0**-53
    largest = math.ldexp(gradient_signal(config), code.bits) + 0.5
    return terms / (1 - terms) * math.sqrt(code.coordinates) * largest


def projection_noise(config: RunConfig, code: SumEncoding) -> NoisePlan | None:
    """Return the noise on a member's projection, in steps of `grid_shift`; None without a charge.

    A unit moves the member's integers by Delta in the Euclidean norm, hence the exact projection by
    Delta at most, the computed one by 2 E more (`product_error`, for both data sets), and what is
    rounded to steps of 2^s by (Delta + 2 E) / 2^s + 1.

    Args:
        config: The run's configuration.
        code: The encoding of the member's sum.

    Raises:
        ConfigError: If more noise is needed than is drawn.
    """
    event, budget = vote_event(config), vote_budget(config)
    if event is None or budget is None:
        return None
    moved = code.sensitivity.l2
    steps = config.privacy.steps * moved + 2 * product_error(config, code)
    sensitivity = Sensitivity(math.ldexp(steps, -grid_shift(config, moved)) + ROUNDING, 1)
    return gaussian_shares(event, sensitivity, honest=1, budget=budget)
