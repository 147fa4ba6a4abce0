import torch

from securefl.tasks.common.histories import CustomerExamples, Histories, joined


def histories(*parts):
    lengths = torch.tensor([0, *(len(part) for part in parts)])
    items = torch.tensor([item for part in parts for item in part], dtype=torch.int32)
    return Histories(lengths.cumsum(0), items, items.float() + 1, items % 3)


def test_padding_has_no_weight():
    items, weights = histories([4, 5, 6], [], [7]).padded(torch.tensor([2, 0, 1]))

    assert items.tolist() == [[7, 0, 0], [4, 5, 6], [0, 0, 0]]
    assert weights.tolist() == [[8, 0, 0], [5, 6, 7], [0, 0, 0]]
    assert items.dtype == torch.int64
    assert weights.dtype == torch.float32


def test_a_batch_is_as_wide_as_its_longest_history():
    items, _ = histories([1, 2, 3, 4], [5], [6, 7]).padded(torch.tensor([1, 2]))

    assert items.shape == (2, 2)


def test_no_customer_and_no_purchase():
    assert histories([1]).padded(torch.zeros(0, dtype=torch.int64))[0].shape == (0, 0)
    assert histories([], []).padded(torch.tensor([0, 1]))[1].shape == (2, 0)


def test_joined_customers_keep_their_purchases_and_their_retailer():
    first = CustomerExamples(
        histories([1, 2], [3]), torch.zeros(2, dtype=torch.int64), torch.tensor([[0.5, 0.5]])
    )
    second = CustomerExamples(
        histories([4], [5, 6]), torch.zeros(2, dtype=torch.int64), torch.tensor([[9.0, 9.0]])
    )
    both = joined([first, second])
    index, items, weights, prior = both.batch(torch.tensor([3, 1]))

    assert len(both) == 4
    assert index.tolist() == [3, 1]
    assert items.tolist() == [[5, 6], [3, 0]]
    assert weights.tolist() == [[6, 7], [4, 0]]
    assert prior.tolist() == [[9, 9], [0.5, 0.5]]
