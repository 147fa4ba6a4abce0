"""The three losses against their definitions, purchase by purchase."""

import math

import pytest
import torch

from securefl.tasks.common.settings import FactorizationSettings
from securefl.tasks.recommendation.models.factorization import Factorization
from securefl.tasks.recommendation.models.ranking_losses import ranking_losses, sampled_products

BOUGHT = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
AGAINST = torch.tensor([[0.1, 0.2, -0.3], [1.0, -1.0, 3.0]], dtype=torch.float64)


def direct(kind, bought, against):
    total = sum(math.exp(other) for other in against)
    if kind == "softmax":
        return -math.log(math.exp(bought) / total)
    if kind == "sampled-softmax":
        return -math.log(math.exp(bought) / (math.exp(bought) + total))
    return -sum(math.log(1 / (1 + math.exp(other - bought))) for other in against) / len(against)


@pytest.mark.parametrize("kind", ["softmax", "sampled-softmax", "bpr"])
def test_each_loss_is_its_definition(kind):
    found = ranking_losses(kind, BOUGHT, AGAINST)
    expected = [
        [direct(kind, bought, against) for bought in row.tolist()]
        for row, against in zip(BOUGHT, AGAINST.tolist(), strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_sampled_softmax_over_all_products_is_the_softmax():
    scores = torch.randn(3, 9, dtype=torch.float64)
    others = torch.stack([torch.cat([row[:4], row[5:]]) for row in scores])
    torch.testing.assert_close(
        ranking_losses("sampled-softmax", scores[:, 4:5], others),
        ranking_losses("softmax", scores[:, 4:5], scores),
    )


def test_products_are_drawn_uniformly():
    torch.manual_seed(0)
    counts = torch.bincount(sampled_products(100, 500, 10, torch.device("cpu")).flatten())
    assert counts.sum() == 50_000
    assert (counts - 5000).abs().max() < 5 * math.sqrt(50_000 * 0.1 * 0.9)


@pytest.mark.parametrize("kind", ["sampled-softmax", "bpr"])
def test_mf_trains_on_the_scores_that_it_ranks_by(kind, monkeypatch):
    torch.manual_seed(1)
    levels = (torch.arange(12) % 3,)
    settings = FactorizationSettings(dim=4, history_dropout=0.0, loss=kind, negatives=5)
    model = Factorization(settings, levels, 12, 3)
    items, weights = (
        torch.tensor([[1, 2, 3], [4, 0, 0]]),
        torch.tensor([[0.5, 0.2, 0.1], [2, 0, 0]]),
    )
    customer, prior = torch.tensor([2, 0]), torch.randn(2, 12)
    drawn = torch.tensor([[0, 5, 11, 7, 7], [1, 2, 3, 4, 5]])
    monkeypatch.setattr(
        "securefl.tasks.recommendation.models.factorization.sampled_products", lambda *_: drawn
    )
    scores = model.scores(customer, items, (weights > 0).float(), prior)
    surprise = ranking_losses(kind, scores.gather(1, items), scores.gather(1, drawn))
    torch.testing.assert_close(
        model.losses(customer, items, weights, prior), (weights * surprise).sum(dim=1)
    )
