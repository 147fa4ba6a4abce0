"""Differentially private popularity: the baseline that a private model has to beat.

Nothing of it leaves the retailer but the metrics of the list, as with the other baselines of a
result, and the privacy budget ledger is not charged. Releasing the list as well would cost its
budget in addition to the model's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from securefl.config.privacy import PrivacySettings
from securefl.errors import ConfigError
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.noise.csprng import member_stream
from securefl.privacy.noise.grid import GridNoise
from securefl.privacy.noise.shares import set_aside
from securefl.tasks.common.histories import Histories


def noised_popularity(
    member: str, histories: Histories, products: int, settings: PrivacySettings
) -> Tensor:
    """Return one release of popularity under the whole budget of a run, float32 [I].

    The Gaussian mechanism (Dwork and Roth 2014, appendix A) on `bounded_counts`, whose sensitivity
    to one customer is 1, calibrated by the run's accountant as one step on all customers.

    Raises:
        ConfigError: If there is no budget, or no noise multiplier satisfies it.
    """
    if settings.epsilon is None:
        raise ConfigError("privacy.epsilon: a noised list needs a budget")
    sigma = noise_multiplier(
        set_aside(Budget(settings.epsilon, settings.delta)),
        sampling_rate=1.0,
        steps=1,
        accountant=settings.accountant,
    )
    counts = bounded_counts(histories, products)
    noise = GridNoise(member_stream(settings, member, "popularity"))
    return torch.from_numpy(noise.noised(counts.numpy(), 1.0, sigma)).float()


def bounded_counts(histories: Histories, products: int) -> Tensor:
    """Return weighted purchases by product, float64 [I].

    Each customer adds a vector of Euclidean norm 1, which is the L2 sensitivity.
    """
    owner = torch.repeat_interleave(torch.arange(len(histories)), histories.start.diff())
    weights = histories.weights.double()
    squares = weights.new_zeros(len(histories)).index_add_(0, owner, weights.square())
    shares = weights / squares.sqrt()[owner]
    return weights.new_zeros(products).index_add_(0, histories.items.long(), shares)
