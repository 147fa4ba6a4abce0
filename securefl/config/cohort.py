"""How many members a round asks, and how many have to answer."""

from __future__ import annotations

from math import ceil

from securefl.config.schema import CohortSettings
from securefl_protocols.session.graph import default_threshold


def cohort_size(settings: CohortSettings, members: int) -> int:
    """Return how many of a consortium's members a round is agreed for."""
    return min(members, max(settings.minimum, ceil(settings.fraction * members)))


def least_survivors(settings: CohortSettings, cohort: int) -> int:
    """Fewest members in a masked sum of a cohort of so many; of fewer, nothing is unmasked."""
    return max(default_threshold(cohort), settings.minimum)
