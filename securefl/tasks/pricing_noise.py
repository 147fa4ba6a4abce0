"""How much noise is in the shared sums: a public figure, which standard errors have to contain."""

from __future__ import annotations

from math import sqrt

from securefl.config.schema import RunConfig
from securefl.privacy.distributed import plan_of
from securefl.privacy.gradient_code import fraction_bits
from securefl.privacy.plan import PrivacyPlan


def summed_noise(config: RunConfig, members: int, dimension: int) -> float:
    """Standard deviation of the noise in each of `dimension` sums over all members' customers.

    Under local protection each member's noise has deviation sigma C. Under distributed protection
    it is what stays of the shares; where shares are taken back, the most that can stay.

    Raises:
        ConfigError: If no noise keeps to the budget.
    """
    privacy = config.privacy
    if privacy.dp == "local":
        sigma = PrivacyPlan.of(config).sigma(config.rounds)
        return sigma * privacy.clip_norm * sqrt(members)
    plan = plan_of(config, members, dimension)
    noise, step = plan.noise, privacy.expected_batch / 2.0 ** fraction_bits(privacy, dimension)
    if plan.layers is None:
        return noise.summed_deviation(members) * step
    most = plan.threshold * plan.layers.share_variance(plan.layers.removable)
    return sqrt(most) * step
