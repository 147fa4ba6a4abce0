"""Item-to-item statistics, by whichever inverse is the smaller one."""

import pytest
import torch

from securefl.tasks.common.histories import Histories
from securefl.tasks.recommendation.item_knn import neighbours
from securefl.tasks.recommendation.models.ease import multi_hot


@pytest.mark.parametrize(("customers", "products"), [(6, 9), (30, 9)])
def test_the_neighbours_are_those_of_the_direct_inverse(customers, products):
    torch.manual_seed(0)
    bought = (torch.rand(customers, products) < 0.4).float()
    bought[:, 0] = 1
    rows, items = bought.nonzero(as_tuple=True)
    start = torch.searchsorted(rows, torch.arange(customers + 1))
    histories = Histories(start, items.int(), torch.ones(len(items)), torch.zeros(len(items)))
    assert torch.equal(multi_hot(*histories.padded(torch.arange(customers)), products), bought)
    found = neighbours(histories, products, ridge=2.0)
    assert max(max(matrix.shape) for matrix in found.explains) == max(
        products, min(customers, products)
    )
    inverse = torch.linalg.inv(bought.T @ bought + 2.0 * torch.eye(products))
    item_to_item = -inverse / inverse.diag()
    item_to_item.fill_diagonal_(0)
    torch.testing.assert_close(found.scores(bought), bought @ item_to_item, atol=1e-4, rtol=1e-4)
