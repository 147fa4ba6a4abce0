"""Item-to-item model of one retailer, from its own customers alone."""

from __future__ import annotations

from typing import Final

import torch

from securefl.tasks.common.histories import Histories
from securefl.tasks.recommendation.models.ease import ItemToItem, gram, multi_hot

_CHUNK: Final = 4096


def neighbours(histories: Histories, products: int, ridge: float) -> ItemToItem:
    """Fit the item-to-item model of a retailer's training histories.

    Args:
        histories: Its customers' purchases.
        products: Number of products I.
        ridge: Regularisation lambda, above 0, in customers.
    """
    customers = torch.arange(len(histories))
    # The smaller of the two matrices is inverted: [n, n] of customers or [I, I] of products.
    if len(histories) < products:
        return ItemToItem.of_rows(multi_hot(*histories.padded(customers), products), ridge)
    batches = (
        multi_hot(*histories.padded(index), products) for index in torch.split(customers, _CHUNK)
    )
    return ItemToItem.of_gram(gram(batches), ridge)
