"""Popularity as a retailer could release it under a budget: what a private model has to beat.

It is a reference: nothing of it leaves the retailer but the score of the list, as with the other
figures of a closing table, and it is charged to nobody. To release it besides the model would cost
its budget once more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from securefl.config.privacy import PrivacySettings
from securefl.errors import ConfigError
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.noise.csprng import member_stream
from securefl.privacy.noise.gaussian import GaussianNoise
from securefl.tasks.common.histories import Histories


def noised_popularity(
    member: str, histories: Histories, products: int, settings: PrivacySettings
) -> Tensor:
    """One release of the products' popularity under the whole budget of a run, float32 [I].

    The Gaussian mechanism (Dwork and Roth 2014, appendix A) on `bounded_counts`, whose sensitivity
    to a customer is 1, priced by the run's accountant as one step on all customers.

    Raises:
        ConfigError: If there is no budget, or no noise keeps to it.
    """
    if settings.epsilon is None:
        raise ConfigError("privacy.epsilon: a noised list needs a budget")
    sigma = noise_multiplier(
        Budget(settings.epsilon, settings.delta),
        sampling_rate=1.0,
        steps=1,
        accountant=settings.accountant,
    )
    counts = bounded_counts(histories, products)
    noise = GaussianNoise(member_stream(settings, member, "popularity"))
    noise.add_([counts], sigma)
    return counts


def bounded_counts(histories: Histories, products: int) -> Tensor:
    """Weighted purchases by product, float32 [I]; each customer's share in it has length 1."""
    owner = torch.repeat_interleave(torch.arange(len(histories)), histories.start.diff())
    squares = torch.zeros(len(histories)).index_add_(0, owner, histories.weights.square())
    shares = histories.weights / squares.sqrt()[owner]
    return torch.zeros(products).index_add_(0, histories.items.long(), shares)
