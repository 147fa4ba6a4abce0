"""The profile model under a budget: popularity as a list, and the map beside it.

Every private step releases one vector for each customer, of length `clip_norm` at most, whose
blocks are the customer's part of a popularity list and the gradient of map and gains. Its price is
that of any private step: clipping bounds the whole vector, so that no block needs a bound or a
charge of its own (Abadi et al. 2016, algorithm 1). All steps have one noise; what they say of the
list adds up.

Where the agreed numbers let it help, the model is another one: factors of products, which are sums
like the list (`models/factors.py`), under the same clip norm, noise and price.
"""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor, nn

from securefl.config.data import retailers
from securefl.config.schema import RunConfig
from securefl.errors import ConfigError
from securefl.ml.batches import Batch
from securefl.privacy.plan import PrivacyPlan
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.blending import BlendedProfileTask
from securefl.tasks.recommendation.models.factors import FactorRanker
from securefl.tasks.recommendation.models.listed import ListedRanker
from securefl.tasks.recommendation.models.profile import ProfileRanker
from securefl.tasks.recommendation.profile import masked_loss, shown_purchases
from securefl.tasks.recommendation.task import RankingFacts

_LIST: Final = 0.7
"""Share of a customer's squared length that the list takes, and so of the budget."""
_MAP: Final = 2.5
"""Factor on the loss of the map, whose gradients are short: it brings the length of most customers'
vectors close to the clip norm, and few of them are clipped."""
_ENOUGH: Final = 50.0
"""Customers over the noise, in units of the root of the products, from which on factors are ahead:
on drawn purchases they were at 100, and nothing was tried below (recommendation-private.md)."""
_LEAST: Final = 5_000
"""Agreed customers of all retailers from which on they are taken, however few the products."""


class PrivateProfileTask(BlendedProfileTask):
    """`BlendedProfileTask` whose shared popularity is a denoised list.

    Raises:
        ConfigError: If an optimizer would make something else of a sum than a sum.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self._learns: dict[int, bool] = {}
        for section, found, sums in (
            ("privacy", config.privacy.optimizer, ("sgd",)),
            ("server", config.server.optimizer, ("fedavg", "fedavgm")),
        ):
            if found not in sums:
                raise ConfigError(
                    f"{section}.optimizer: '{found}' would change what the popularity list of"
                    f" model 'profile' sums; it takes '{sums[0]}'"
                )

    def model(self, facts: RankingFacts, customers: int) -> ProfileRanker | FactorRanker:
        """Return the model with an empty list: of products where they can be learned."""
        del customers
        products = len(facts.products)
        if products not in self._learns:
            self._learns[products] = learns_products(self.config, products)
        if self._learns[products]:
            return FactorRanker(self.settings, facts.levels, products)
        return ListedRanker(self.settings, facts.levels, products)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of hidden purchases less each customer's part of the list, float [B].

        A customer's part depends on their own purchases alone, and their loss on what was released.
        The denoised list enters the loss as a constant.
        """
        _, items, weights, _ = batch
        length = self.config.privacy.clip_norm
        if isinstance(model, FactorRanker):
            shown = shown_purchases(weights, self.settings.shown)
            return -length * model.summed(items, weights, shown.to(weights.dtype))
        ranker = listed_ranker(model)
        surprise = masked_loss(ranker, items, weights, self.settings.shown)
        part: Tensor = _LIST**0.5 * ranker.listed(items, weights)
        loss: Tensor = length * (_MAP * surprise - part)
        return loss


def listed_ranker(model: nn.Module) -> ListedRanker:
    """Return the model as a profile model with a list.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, ListedRanker):
        raise TypeError(f"{type(model).__name__} has no popularity list")
    return model


def learns_products(config: RunConfig, products: int) -> bool:
    """Return whether factors of products are learned."""
    assert isinstance(config.model, ProfileSettings)
    if config.model.learns != "auto":
        return config.model.learns == "products"
    if agreed_customers(config) < _LEAST:
        return False
    return strength(config) >= _ENOUGH * math.sqrt(products)


def agreed_customers(config: RunConfig) -> float:
    """Return the customers of all retailers that the public constants stand for."""
    return retailers(config.data) * config.privacy.expected_batch / config.privacy.sampling_rate


def strength(config: RunConfig) -> float:
    """Return all agreed customers over the deviation of the noise of one release of the budget.

    The largest singular value of a matrix of noise grows with the root of the products, and that
    of the factors with the customers.
    """
    privacy, members = config.privacy, retailers(config.data)
    steps = config.rounds * privacy.steps
    # All steps together: their parts add up, and their noise as independent noise does.
    noise = PrivacyPlan.of(config).sigma(config.rounds) / (privacy.sampling_rate * math.sqrt(steps))
    # Each retailer's own noise adds up; shares of noise under masks come to that of one.
    return agreed_customers(config) / (
        noise * (math.sqrt(members) if privacy.dp == "local" else 1.0)
    )
