"""Loss-based membership inference: it finds who was trained on where anything can be found."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from securefl.audit.attacks.canaries import CanaryModel, small_member
from securefl.audit.attacks.membership import membership, unit_losses
from securefl.audit.attacks.probe import CanaryTraining, MembershipGame, probe, unprotected
from securefl.audit.attacks.run import attacked
from securefl.config.load import load_config
from securefl.errors import InputError
from securefl.federation.runs.prepare import prepare
from securefl.ml.batches import TensorExamples
from securefl.tasks.base import MemberData


class Remembers(nn.Module):
    """Loss 0 for units that it was told of, else 1, give or take a little."""

    def __init__(self, known):
        super().__init__()
        self.known = nn.Parameter(torch.from_numpy(known.astype(np.float32)))
        self.height = nn.Parameter(torch.ones(()))

    def forward(self, index):
        return self.height - self.known[index] + 0.01 * torch.rand(len(index))


class RemembersInPrivate(Remembers):
    local_parameters = frozenset({"known"})


@pytest.fixture
def member(private):
    return small_member(private())


class Remembering:
    """A task whose model is told whom to remember."""

    def __init__(self, model):
        self.made = model

    def model(self, facts, customers):
        return self.made(np.zeros(customers, dtype=bool))

    def loss(self, model, batch):
        return model(batch[0])


def found(member, known, inside, model=Remembers):
    units = TensorExamples((torch.arange(len(known)),))
    data = MemberData("north", units, len(known), len(known))
    probed = CanaryTraining(CanaryModel(model(known), 0), (), None)
    learner = replace(member, task=Remembering(model), data=data)
    return membership(learner, probed, inside, 1e-5, 0.95)


def test_a_model_that_remembers_everybody_is_seen_through(member):
    inside = np.random.default_rng(0).random(200) < 0.5
    result = found(member, inside, inside)
    assert result.area.value == 1.0
    assert result.hits[0.01].value == 1.0
    assert result.epsilon > 2.0
    assert result.inside + result.outside == 200


def test_a_model_that_remembers_others_gives_nothing_away(member):
    rng = np.random.default_rng(1)
    result = found(member, rng.random(400) < 0.5, rng.random(400) < 0.5)
    assert result.area.low < 0.5 < result.area.high
    assert result.epsilon < 0.5


def test_what_is_not_released_is_not_attacked(member):
    inside = np.random.default_rng(2).random(200) < 0.5
    result = found(member, inside, inside, RemembersInPrivate)
    assert result.area.low < 0.5 < result.area.high


def test_losses_are_repeatable_and_leave_the_random_state_alone(member):
    model = member.task.model(member.facts, 0)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = unit_losses(member.task, model, member.data.examples, 5)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first, unit_losses(member.task, model, member.data.examples, 5))
    assert first.shape == (len(member.data.examples),)


def test_training_without_privacy_can_be_attacked_too(member, tmp_path):
    game = MembershipGame.sample(0, len(member.data.examples), 1)
    bare = probe(unprotected(member), game, tmp_path)
    assert bare.spending is None
    assert membership(member, bare, game.customers, 1e-5, 0.95).area.value > 0.5


def test_the_member_with_most_customers_is_attacked_and_a_tiny_one_refused(private):
    config = private()
    prepared = prepare(config)
    sizes = [len(member.examples) for member in prepared.members]
    assert len(attacked(prepared).data.examples) == max(sizes)
    few = {**config.model_dump(), "data": {**config.data.model_dump(), "customers": 10}}
    with pytest.raises(InputError, match="too few customers"):
        attacked(prepare(load_config(None, few)))
