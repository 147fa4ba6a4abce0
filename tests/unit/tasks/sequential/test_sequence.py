"""Models of purchases in order against what is computed customer by customer, basket by basket."""

import pytest
import torch
from torch import nn

from securefl.tasks.recommendation.models.ranking_losses import ranking_losses
from securefl.tasks.sequential.encoders import CausalAttention, Recurrent
from securefl.tasks.sequential.model import Baskets, ProductCodes, SequenceRanker
from securefl.tasks.sequential.settings import AttentionSettings, GruSettings

PRODUCTS = 12
LEVELS = (torch.arange(PRODUCTS) % 3, torch.arange(PRODUCTS) // 4)
ITEMS = torch.tensor([[1, 2, 3, 7], [4, 5, 0, 0]])
BASKETS = torch.tensor([[0, 0, 1, 2], [0, 1, 0, 0]])
WEIGHTS = torch.tensor([[0.5, 0.2, 0.1, 0.2], [1.0, 2.0, 0.0, 0.0]])
PRESENT = (WEIGHTS > 0).float()
SIZES = {
    "dim": 4,
    "hidden": 6,
    "length": 5,
    "positions": 5,
    "history_dropout": 0.0,
    "loss": "softmax",
}


def ranker(kind, **changes):
    torch.manual_seed(3)
    settings = (GruSettings if kind == "gru" else AttentionSettings)(**(SIZES | changes))
    model = SequenceRanker(settings, LEVELS, PRODUCTS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.eval()


def test_the_recurrent_unit_is_torchs():
    torch.manual_seed(0)
    ours, theirs = Recurrent(3, 5), nn.GRU(3, 5, batch_first=True)
    with torch.no_grad():
        # torch stacks reset, update, new; so do the parts of ours after a swap.
        swap = torch.cat([torch.arange(5, 10), torch.arange(5), torch.arange(10, 15)])
        for name, layer in (("ih", ours.of_input), ("hh", ours.of_state)):
            getattr(theirs, f"weight_{name}_l0").copy_(layer.weight[swap])
            getattr(theirs, f"bias_{name}_l0").copy_(layer.bias[swap])
    contents = torch.randn(2, 7, 3)
    states, _ = theirs(contents)
    torch.testing.assert_close(ours(contents, torch.ones(2, 7, dtype=torch.bool)), ours.out(states))


def test_attention_is_computed_head_by_head():
    torch.manual_seed(0)
    layer, contents = CausalAttention(4, 6, 2), torch.randn(1, 3, 4)
    filled = torch.tensor([[True, False, True]])
    read = nn.functional.layer_norm(contents, (4,))[0]
    query, key, value = layer.query(read), layer.key(read), layer.value(read)
    heard = []
    for part, slope in ((slice(0, 2), 2.0**-4), (slice(2, 4), 2.0**-8)):
        logits = [query[2, part] @ key[j, part] / 2**0.5 - slope * (2 - j) for j in (0, 2)]
        shares = torch.stack(logits).softmax(dim=0)
        heard.append(shares[0] * value[0, part] + shares[1] * value[2, part])
    after = contents[0, 2] + torch.cat(heard)
    expected = after + layer.outer(torch.relu(layer.inner(nn.functional.layer_norm(after, (4,)))))
    torch.testing.assert_close(layer(contents, filled)[0, 2], expected)


@pytest.mark.parametrize("layer", [Recurrent(3, 5), CausalAttention(4, 6, 2)])
def test_no_state_knows_a_later_basket(layer):
    dim = 3 if isinstance(layer, Recurrent) else 4
    contents, filled = torch.randn(2, 6, dim), torch.ones(2, 6, dtype=torch.bool)
    changed = contents.clone()
    changed[:, 4:] += 1
    before, after = layer(contents, filled), layer(changed, filled)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_older_baskets_share_the_first_slot():
    items = torch.tensor([[1, 2, 3, 4, 0]])
    present = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]])
    slots = Baskets.of(items, present, torch.tensor([[0, 1, 2, 3, 9]]), length=3).slots
    assert slots[0, :4].tolist() == [0, 0, 1, 2]


def test_products_of_one_kind_have_one_code():
    codes = ProductCodes((torch.tensor([0, 0, 1]), torch.tensor([2, 2, 0])), dim=64)()
    assert torch.equal(codes[0], codes[1])
    assert codes[0] @ codes[1] > codes[0] @ codes[2] + 0.5
    assert torch.equal(
        codes, ProductCodes((torch.tensor([0, 0, 1]), torch.tensor([2, 2, 0])), 64)()
    )


@pytest.mark.parametrize("kind", ["gru", "attention"])
@pytest.mark.parametrize("loss", ["softmax", "sampled-softmax", "bpr"])
@pytest.mark.parametrize("horizon", [1, 2])
def test_the_loss_is_that_of_each_basket_given_those_before(kind, loss, horizon, monkeypatch):
    few = {} if loss == "softmax" else {"negatives": 5}
    model = ranker(kind, loss=loss, horizon=horizon, **few)
    drawn, prior = torch.tensor([[0, 6, 11, 8, 8], [1, 2, 3, 6, 7]]), torch.randn(2, PRODUCTS)
    monkeypatch.setattr("securefl.tasks.sequential.model.sampled_products", lambda *_: drawn)
    expected = []
    for row in range(2):
        by_basket = []
        for basket in range(1, int(BASKETS[row].max()) + 1):
            before = (BASKETS[row] < basket) & (WEIGHTS[row] > 0)
            ahead = BASKETS[row] - basket
            new = (ahead >= 0) & (ahead < horizon) & (WEIGHTS[row] > 0)
            known = ITEMS[row, before][None], torch.ones(1, int(before.sum())), BASKETS[row, before]
            scores = model.taste(known[0], known[1], known[2][None]) + model.common(1) + prior[row]
            others = scores if loss == "softmax" else scores[:, drawn[row]]
            surprise = ranking_losses(loss, scores[:, ITEMS[row, new]], others)[0]
            weights = WEIGHTS[row, new]
            by_basket.append((weights * surprise).sum() / weights.sum())
        expected.append(WEIGHTS[row].sum() * torch.stack(by_basket).mean())
    found = model.losses(ITEMS, PRESENT, WEIGHTS, BASKETS, prior)
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_customers_loss_does_not_depend_on_the_batch():
    model = ranker("gru")
    both = model.losses(ITEMS, PRESENT, WEIGHTS, BASKETS, torch.zeros(2, PRODUCTS))
    alone = model.losses(
        ITEMS[1:, :2], PRESENT[1:, :2], WEIGHTS[1:, :2], BASKETS[1:, :2], torch.zeros(1, PRODUCTS)
    )
    torch.testing.assert_close(both[1:], alone)


def test_a_customer_with_one_basket_has_nothing_to_learn_from():
    loss = ranker("gru").losses(
        ITEMS[:1],
        PRESENT[:1],
        WEIGHTS[:1],
        torch.zeros(1, 4, dtype=torch.int64),
        torch.zeros(1, PRODUCTS),
    )
    assert loss.tolist() == [0.0]


def test_the_order_of_baskets_counts_and_that_within_one_does_not():
    model, present = ranker("gru"), torch.ones(1, 3)
    items, baskets = torch.tensor([[1, 2, 3]]), torch.tensor([[0, 0, 1]])
    first = model.taste(items, present, baskets)
    within = model.taste(items[:, [1, 0, 2]], present, baskets)
    between = model.taste(items[:, [2, 1, 0]], present, baskets)
    torch.testing.assert_close(first, within)
    assert not torch.allclose(first, between)


def test_a_purchase_that_stands_for_two_counts_as_two_of_its_kind():
    model = ranker("gru")
    items, baskets = torch.tensor([[1, 1, 3, 3]]), torch.tensor([[0, 0, 1, 1]])
    twice = model.taste(items, torch.ones(1, 4), baskets)
    once = model.taste(items[:, ::2], torch.full((1, 2), 2.0), baskets[:, ::2])
    torch.testing.assert_close(once, twice)


@pytest.mark.parametrize("kind", ["gru", "attention"])
def test_how_much_was_bought_says_nothing_beside_fixed_codes(kind):
    fixed = ranker(kind, vectors="fixed")
    many = fixed.taste(ITEMS, 7 * PRESENT, BASKETS)
    torch.testing.assert_close(many, fixed.taste(ITEMS, PRESENT, BASKETS))
    learned = ranker(kind)
    assert not torch.allclose(
        learned.taste(ITEMS, 7 * PRESENT, BASKETS), learned.taste(ITEMS, PRESENT, BASKETS)
    )
