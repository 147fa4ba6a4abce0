"""Who takes part in a round. Members compute it themselves, so that nobody chooses it for them."""

from __future__ import annotations

import random

from securefl.config.cohort import cohort_size
from securefl.config.schema import RunConfig
from securefl.ml.seeds import derive_seed


def agreed_cohort(config: RunConfig, members: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The members of a round: a random share of all, never fewer than the agreed minimum.

    Args:
        config: What was agreed; its seed fixes the draw.
        members: All members, in roster order.
        number: Number of the round.

    Returns:
        The cohort, in roster order.
    """
    size = cohort_size(config.cohort, len(members))
    draw = random.Random(derive_seed(config.seed, "cohort", number))  # noqa: S311 - not a secret
    chosen = set(draw.sample(members, size))
    return tuple(name for name in members if name in chosen)
