"""What the scores of a run may cost, and the noise that follows: from public constants alone.

The scores of a run are one release: a Gaussian at sampling rate 1, once. Its noise multiplier is
the least at which the release alone costs `privacy.scores` of the run's epsilon, at the run's
delta. Training is calibrated with that event in its composition (`PrivacyPlan.sigma`), so that both
together keep to the budget.
"""

from __future__ import annotations

import math
from typing import Final

import scipy  # which imports its parts when they are used

from securefl.config.cohort import least_survivors
from securefl.config.schema import RunConfig
from securefl.config.score_bounds import SCORES_LABEL, ScoreTable
from securefl.config.task_registry import declaration
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise.shares import NoisePlan, gaussian_shares, honest_shares, set_aside
from securefl_protocols.wire.context import labelled_digest

_SAFE: Final = 1 + 1e-9
"""Factor on the root of a monotone function, which a solver may find on the wrong side."""


def score_table(config: RunConfig) -> ScoreTable | None:
    """Return the bounded scores of a run's model under its privacy unit; None without any."""
    choice = declaration(config.task).choice(config.model.name)
    return None if choice is None else choice.scores.get(config.privacy.unit)


def table_digest(table: ScoreTable) -> bytes:
    """Return the digest of a table of bounds, 32 bytes; two tables of equal content share it."""
    parts = [table.arm, *(f"{name} {bound}" for name, bound in table.metrics.items())]
    return labelled_digest(SCORES_LABEL, *(part.encode() for part in parts))


def score_budget(config: RunConfig) -> Budget | None:
    """Return the part of the budget that is reserved for scores; None where no score leaves."""
    settings = config.privacy
    share = settings.scores
    if not mechanism_for(settings).private or not share or score_table(config) is None:
        return None
    assert settings.epsilon is not None
    return Budget(share * settings.epsilon, settings.delta)


def score_event(config: RunConfig) -> SampledGaussian | None:
    """Return the event that the scores are charged as; None where no score leaves."""
    budget = score_budget(config)
    if budget is None:
        return None
    return SampledGaussian(least_multiplier(set_aside(budget)), sampling_rate=1.0, steps=1)


def score_noise(config: RunConfig, members: int, sensitivity: Sensitivity) -> NoisePlan | None:
    """Return the integer noise that each member adds to its scores; None where no score leaves.

    Under shared noise a share such that the honest survivors' shares together are the event's
    noise; otherwise each member's noise is the event's by itself. Its law is the discrete Gaussian
    in every mechanism, so that one event of one size stands in every plan.

    Args:
        config: The run's configuration.
        members: Members of the session.
        sensitivity: Largest change of the integers by one unit.

    Raises:
        ConfigError: If no honest member is left in a sum, or more noise is needed than is drawn.
    """
    event, budget = score_event(config), score_budget(config)
    if event is None or budget is None:
        return None
    honest = 1
    if mechanism_for(config.privacy).shares_noise:
        least = least_survivors(config.cohort, members)
        honest = honest_shares(members, least, config.privacy.distributed.colluding)
    return gaussian_shares(event, sensitivity, honest=honest, budget=budget)


def least_multiplier(budget: Budget) -> float:
    """Return the least sigma at which one Gaussian release of all units keeps to a budget.

    Balle and Wang 2018, theorem 8: delta(sigma) = Phi(1 / (2 sigma) - epsilon sigma)
    - e^epsilon Phi(-1 / (2 sigma) - epsilon sigma), which falls as sigma grows.
    """

    def excess(log_sigma: float) -> float:
        return _delta(math.exp(log_sigma), budget.epsilon) - budget.delta

    low, high = -3.0, 1.0
    while excess(high) > 0:
        high += 1.0
    while excess(low) < 0:
        low -= 1.0
    sigma = math.exp(float(scipy.optimize.brentq(excess, low, high, xtol=1e-13)))
    while _delta(sigma, budget.epsilon) > budget.delta:
        sigma *= _SAFE
    return sigma


def _delta(sigma: float, epsilon: float) -> float:
    """Return delta of one Gaussian release of sensitivity 1 at `epsilon`."""
    half = 1 / (2 * sigma)
    return float(
        scipy.special.ndtr(half - epsilon * sigma)
        - math.exp(epsilon + scipy.special.log_ndtr(-half - epsilon * sigma))
    )
