from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from securefl.ml.parameters import (
    joined_shared,
    load_local,
    load_shared,
    local_parameters,
    local_state,
    named_shared,
    shared_parameters,
    shared_vector,
)


class Small(nn.Module):
    local_parameters: ClassVar = frozenset({"customer", "offset"})

    def __init__(self):
        super().__init__()
        self.customer = nn.Embedding(3, 2)
        self.customer_like = nn.Embedding(4, 2)
        self.offset = nn.Parameter(torch.zeros(5))
        self.head = nn.Linear(2, 1)


def test_every_parameter_is_either_shared_or_local():
    model = Small()
    assert set(shared_parameters(model)) == {"customer_like.weight", "head.weight", "head.bias"}
    assert set(local_parameters(model)) == {"customer.weight", "offset"}


def test_the_vector_has_shared_coordinates_only_and_loads_back():
    first, second = Small(), Small()
    vector = shared_vector(first)
    assert vector.dtype == np.float32
    assert vector.shape == (4 * 2 + 2 + 1,)
    load_shared(second, vector)
    assert (shared_vector(second) == vector).all()
    assert not torch.equal(second.customer.weight, first.customer.weight)


def test_the_vector_is_a_copy():
    model = Small()
    vector = shared_vector(model)
    before = vector.copy()
    with torch.no_grad():
        model.head.weight.add_(1)
    assert (vector == before).all()


def test_named_tensors_are_the_vector_cut():
    model = Small()
    vector = shared_vector(model)
    named = named_shared(model, vector)
    assert torch.equal(named["head.bias"], model.head.bias)
    assert (joined_shared(model, named) == vector).all()


def test_weights_of_another_model_are_refused():
    model = Small()
    named = named_shared(model, shared_vector(model))
    with pytest.raises(ValueError, match=r"head\.weight"):
        joined_shared(model, named | {"head.weight": torch.zeros(3, 3)})
    with pytest.raises(ValueError, match=r"head\.bias"):
        joined_shared(model, {k: v for k, v in named.items() if k != "head.bias"})


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ValueError, match="11 coordinates"):
        load_shared(Small(), np.zeros(12, dtype=np.float32))


def test_local_state_is_a_copy_and_loads_back():
    model = Small()
    state = local_state(model)
    with torch.no_grad():
        model.offset.add_(1)
    assert state["offset"].sum() == 0
    load_local(model, state)
    assert model.offset.sum() == 0


def test_buffers_are_refused():
    with pytest.raises(ValueError, match="running_mean"):
        shared_vector(nn.BatchNorm1d(2))
