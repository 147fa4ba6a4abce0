"""All three gradient paths against one backward pass a unit."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from securefl.ml.batches import TensorExamples
from securefl.privacy.dpsgd.book_keeping import BookkeepingPath
from securefl.privacy.dpsgd.functorch import VectorisedPath
from securefl.privacy.dpsgd.layer_norms import embedding_squared_norms, linear_squared_norms
from securefl.privacy.dpsgd.per_example import UnsupportedLayerError

PATHS = ("hooks", "bookkeeping", "vectorised")
INDEX = torch.tensor([0, 3, 5, 9, 23])


def as_type(examples, dtype):
    return TensorExamples(
        tuple(t.to(dtype) if t.is_floating_point() else t for t in examples.tensors)
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("piece", [4096, 3])
@pytest.mark.parametrize("clip_norm", [1e-2, 1e3])
def test_a_step_is_the_mean_of_separately_clipped_gradients(
    case, path, piece, clip_norm, settings, trainer, tools
):
    before = tools.flat_shared(case.model)
    expected = tools.clipped_sum(case, INDEX, clip_norm)
    trainer(case, settings(path=path, piece=piece, clip_norm=clip_norm)).step(INDEX)
    found = (before - tools.flat_shared(case.model)) * 8
    assert (found - expected).norm() <= 1e-9 * max(1, expected.norm())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("clip_norm", [0.05, 1e3])
def test_float32_agrees_with_float64_to_a_millionth(
    path, clip_norm, case, settings, trainer, tools
):
    """The sum itself, in double precision whatever the model's: only single gradients differ."""
    case.model.float()
    case.examples = as_type(case.examples, torch.float32)
    exact = copy.deepcopy(case)
    exact.model.double()
    exact.examples = as_type(case.examples, torch.float64)
    expected = tools.clipped_sum(exact, INDEX, clip_norm)
    found = trainer(case, settings(path=path, clip_norm=clip_norm)).clipped_sum(INDEX)
    assert found.dtype == torch.float64
    assert (found - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_empty_batch_steps_on_nothing_but_noise(case, path, optimizer, settings, trainer, tools):
    before = tools.flat_shared(case.model)
    empty = torch.zeros(0, dtype=torch.int64)
    private = trainer(case, settings(path=path, optimizer=optimizer))
    private.step(empty)
    assert torch.equal(tools.flat_shared(case.model), before)
    private.optimizer.noise_multiplier = 1.0
    private.step(empty)
    assert (tools.flat_shared(case.model) != before).all()


@pytest.mark.parametrize("path", PATHS)
def test_a_unit_drawn_twice_in_pieces_counts_twice(path, settings, trainer, tools):
    case = tools.rating_rows()
    index = torch.tensor([4, 4, 7])
    expected = tools.clipped_sum(case, index, 0.7)
    before = tools.flat_shared(case.model)
    trainer(case, settings(path=path, piece=1)).step(index)
    assert torch.allclose((before - tools.flat_shared(case.model)) * 8, expected, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 5, 33, 70])
def test_embedding_norms_add_up_rows_that_repeat(rows):
    indices = torch.randint(4, (6, rows))
    backprops = torch.randn(6, rows, 3)
    dense = torch.zeros(6, 4, 3)
    for unit in range(6):
        dense[unit].index_add_(0, indices[unit], backprops[unit])
    expected = dense.square().sum((1, 2))
    assert torch.allclose(embedding_squared_norms(indices, backprops), expected)


@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_norms_are_those_of_the_instantiated_gradient(rows, bias):
    inputs, backprops = torch.randn(6, rows, 5), torch.randn(6, rows, 3)
    expected = (backprops.mT @ inputs).square().sum((1, 2))
    if bias:
        expected = expected + backprops.sum(1).square().sum(1)
    assert torch.allclose(linear_squared_norms(inputs, backprops, bias=bias), expected)


class _Tied(nn.Module):
    """Scores by the embedding's weight itself, behind the back of its forward."""

    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(4, 3)

    def forward(self, item):
        return functional.linear(self.item(item), self.item.weight)


class _InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(4, 3)
        self.out = nn.Linear(3, 4)

    def forward(self, item):
        return functional.relu_(self.out(self.item(item)))


class _AllItems(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(4, 3)

    def forward(self, item):
        table = self.item(torch.arange(4))
        return self.item(item) @ table.T


class _Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(4, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, item):
        return self.norm(self.item(item))


class _MaxNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(4, 4, max_norm=1.0)

    def forward(self, item):
        return self.item(item)


class _Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(4, 4)
        self.out = nn.Linear(4, 4, bias=False)
        self.out.weight = self.item.weight

    def forward(self, item):
        return self.out(self.item(item))


@pytest.mark.parametrize("net", [_Tied, _InPlace, _AllItems, _Normed, _MaxNorm, _Shared])
def test_bookkeeping_refuses_what_it_cannot_tell_apart(net, settings, trainer, tools):
    case = tools.rating_rows()
    case.model = net()
    case.loss = lambda model, batch: functional.cross_entropy(
        model(batch[2]), batch[2], reduction="none"
    )
    with pytest.raises(
        (UnsupportedLayerError, ValueError), match=r"outside|in place|apart|knows|buff"
    ):
        trainer(case, settings()).step(INDEX)


@pytest.mark.parametrize("path", ["hooks"])
def test_the_stock_paths_take_other_layers(path, settings, trainer, tools):
    case = tools.rating_rows()
    case.model = _Normed()
    case.loss = lambda model, batch: functional.cross_entropy(
        model(batch[2]), batch[2], reduction="none"
    )
    expected = tools.clipped_sum(case, INDEX, 0.7)
    before = tools.flat_shared(case.model)
    trainer(case, settings(path=path)).step(INDEX)
    assert torch.allclose((before - tools.flat_shared(case.model)) * 8, expected, atol=1e-9)


@pytest.mark.parametrize("path", PATHS)
def test_close_hands_the_model_back(path, settings, trainer, tools):
    case = tools.local_vectors()
    private = trainer(case, settings(path=path))
    private.step(INDEX)
    private.close()
    case.loss(case.model, case.examples.batch(INDEX)).sum().backward()
    assert all(p.grad is not None and p.requires_grad for p in case.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in case.model.modules())


@pytest.mark.parametrize(
    ("net", "path"), [(_Normed, VectorisedPath), (_Tied, BookkeepingPath), (None, BookkeepingPath)]
)
def test_auto_takes_bookkeeping_where_it_knows_every_layer(net, path, settings, trainer, tools):
    case = tools.rating_rows()
    if net is not None:
        case.model = net()
    assert type(trainer(case, settings(path="auto")).path) is path
