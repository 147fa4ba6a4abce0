"""The cohort of a round, which every member computes for itself.

A coordinator that could choose cohorts could compare the sums of two that differ in one member
(differencing attack).
"""

from __future__ import annotations

import random

from securefl.config.cohort import cohort_size
from securefl.config.schema import RunConfig
from securefl.ml.seeds import derive_seed


def agreed_cohort(config: RunConfig, members: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Return the members of a round: a random share of all, never fewer than the agreed minimum.

    Args:
        config: What was agreed; its seed fixes the draw.
        members: All members, in roster order.
        number: Number of the round.

    Returns:
        The cohort, in roster order.
    """
    size = cohort_size(config.cohort, len(members))
    # Public and reproducible: what protects members is that the draw is fixed with the agreement,
    # before any data are used, and not that it is unpredictable.
    draw = random.Random(derive_seed(config.seed, "cohort", number))  # noqa: S311 - not a secret
    chosen = set(draw.sample(members, size))
    return tuple(name for name in members if name in chosen)
