"""A second accountant, by other people and another method: privacy loss distributions.

Google's `dp-accounting` wants versions of its own dependencies, so it is no dependency of ours;
where it is installed, its figure must never be above the recorded one.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from securefl.errors import ConfigError
from securefl.privacy.events import SampledGaussian


def loss_distribution_epsilon(events: Sequence[SampledGaussian], delta: float) -> float:
    """Epsilon of the composition by discretised privacy losses (Koskela et al. 2020), rounded up.

    Raises:
        ConfigError: If `dp-accounting` is not installed.
    """
    try:
        dp = importlib.import_module("dp_accounting")
        pld = importlib.import_module("dp_accounting.pld")
    except ModuleNotFoundError:
        raise ConfigError("the second accountant needs the package dp-accounting") from None
    accountant = pld.PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for event in events:
        gaussian = dp.GaussianDpEvent(event.noise_multiplier)
        sampled = dp.PoissonSampledDpEvent(event.sampling_rate, gaussian)
        accountant.compose(dp.SelfComposedDpEvent(sampled, event.steps))
    return float(accountant.get_epsilon(delta))
