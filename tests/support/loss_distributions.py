"""Epsilon by `dp_accounting`'s own accountant, as its documentation has it: a known answer."""

from collections.abc import Sequence

import dp_accounting as dp
from dp_accounting.pld import PLDAccountant

from securefl.privacy.accounting.accountant import SampledGaussian


def loss_distribution_epsilon(events: Sequence[SampledGaussian], delta: float) -> float:
    """Epsilon of the composition by discretised losses (Koskela et al. 2020), rounded up."""
    accountant = PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for event in events:
        gaussian = dp.GaussianDpEvent(event.noise_multiplier)
        sampled = dp.PoissonSampledDpEvent(event.sampling_rate, gaussian)
        accountant.compose(dp.SelfComposedDpEvent(sampled, event.steps))
    return float(accountant.get_epsilon(delta))
