"""Item-to-item weights from a sum over customers."""

import pytest
import torch

from securefl.privacy.dpsgd.book_keeping import supported_layers
from securefl.tasks.recommendation.models.ease import (
    EaseRanker,
    GramMatrix,
    ItemToItem,
    gram,
    nearest_gram,
)


@pytest.fixture
def bought():
    torch.manual_seed(1)
    return (torch.rand(30, 7) < 0.4).float()


def test_the_weights_are_the_least_squares_of_each_item_by_all_others(bought):
    """Steck 2019, eq. 3 to 8: ridge regression column by column, without the item itself."""
    found = ItemToItem.of_gram(gram([bought]), ridge=3.0)
    for item in range(7):
        others = [other for other in range(7) if other != item]
        inputs = bought[:, others]
        slopes = torch.linalg.solve(
            inputs.T @ inputs + 3.0 * torch.eye(6), inputs.T @ bought[:, item]
        )
        torch.testing.assert_close(
            found.scores(bought)[:, item], inputs @ slopes, atol=1e-5, rtol=1e-4
        )


def test_the_sum_over_parts_is_the_sum_over_all(bought):
    assert torch.equal(gram([bought[:11], bought[11:]]), (bought.T @ bought).double())
    with pytest.raises(ValueError, match="no rows"):
        gram([])


def test_one_step_on_all_units_leaves_their_mean(bought):
    model = GramMatrix(7)
    model.losses(bought).mean().backward()
    with torch.no_grad():
        model.together.weight -= model.together.weight.grad
    torch.testing.assert_close(model.matrix, bought.T @ bought / 30)


def test_a_units_gradient_is_minus_its_own_products_wherever_training_stands(bought):
    model = GramMatrix(7)
    torch.nn.init.normal_(model.together.weight)
    (gradient,) = torch.autograd.grad(model.losses(bought[:1]).sum(), model.parameters())
    torch.testing.assert_close(gradient, -torch.outer(bought[0], bought[0]))
    assert supported_layers(model) == [model.together]


def test_the_nearest_gram_matrix_to_one_is_itself_and_noise_leaves_one(bought):
    exact = gram([bought])
    torch.testing.assert_close(nearest_gram(exact), exact)
    noised = nearest_gram(exact + 20 * torch.randn(7, 7, dtype=torch.float64))
    assert torch.equal(noised, noised.T) or (noised - noised.T).abs().max() < 1e-9
    assert torch.linalg.eigvalsh(noised).min() > -1e-9


def test_products_share_their_items_row_and_some_have_none():
    model = EaseRanker(torch.tensor([1, 0, 1, -1]))
    items, present = torch.tensor([[0, 2, 3, 0], [1, 3, 0, 0]]), torch.tensor([[1.0, 1, 1, 0]] * 2)
    present[1, 2] = 0
    assert model.bought(items, present).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    spread = model.spread(torch.tensor([[0.5, 0.7]]), -1.0)
    torch.testing.assert_close(spread, torch.tensor([[0.7, 0.5, 0.7, -1.0]]))
