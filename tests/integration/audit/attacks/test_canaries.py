"""What a canary is: one clipped step in one coordinate, whoever else takes part."""

import numpy as np
import pytest
import torch

from securefl.audit.attacks.canaries import (
    PULL,
    CanaryExamples,
    CanaryModel,
    CanaryTask,
    coordinates,
    small_member,
)
from securefl.audit.attacks.probe import MembershipGame, probe
from securefl.ml.parameters import shared_parameters, shared_vector
from support.local_noise import silence


@pytest.fixture
def member(private):
    return small_member(private())


def test_without_noise_each_canary_that_is_in_moves_its_own_coordinate_by_the_clip_norm(
    member, monkeypatch, tmp_path
):
    silence(monkeypatch)
    game = MembershipGame.sample(40, len(member.data.examples), 5)
    probed = probe(member, game, tmp_path)
    privacy = member.config.privacy
    one = privacy.learning_rate * privacy.clip_norm / privacy.expected_batch
    steps = member.config.rounds * privacy.steps
    np.testing.assert_allclose(
        probed.scores(40), game.canaries * one * steps, rtol=1e-4, atol=2e-3 * one
    )
    assert probed.rounds == 5
    assert probed.spending.steps == steps


def test_a_canary_without_pull_leaves_no_trace(member, monkeypatch, tmp_path):
    silence(monkeypatch)
    game = MembershipGame.sample(40, len(member.data.examples), 5)
    assert not probe(member, game, tmp_path, pull=0.0).scores(40).any()


def test_a_customers_loss_is_untouched_by_canaries_in_the_batch(member):
    task = CanaryTask(member.task, member.config)
    base = member.task.model(member.facts, 0)
    model = CanaryModel(base, 3)
    examples = CanaryExamples(
        member.data.examples, torch.tensor([4, 7]), torch.tensor([2]), 3, PULL
    )
    assert len(examples) == 3
    torch.manual_seed(1)
    mixed = task.loss(model, examples.batch(torch.tensor([0, 1, 2])))
    torch.manual_seed(1)
    own = member.task.loss(base, member.data.examples.batch(torch.tensor([4, 7, 4])))
    assert torch.equal(mixed[:2], own[:2])
    gradient = torch.autograd.grad(mixed[2], model.table.weight)[0]
    assert gradient.flatten().tolist() == [0.0, 0.0, -PULL, 0.0]
    with_base = list(base.parameters())
    assert not any(
        g is not None and g.any()
        for g in torch.autograd.grad(
            task.loss(model, examples.batch(torch.tensor([2]))).sum(), with_base, allow_unused=True
        )
    )


def test_the_canaries_are_released_like_everything_else(member):
    model = CanaryModel(member.task.model(member.facts, 0), 5)
    assert "table.weight" in shared_parameters(model)
    assert coordinates(shared_vector(model), 5).shape == (5,)


def test_the_coins_are_fair_and_repeatable():
    game = MembershipGame.sample(4000, 300, 1)
    assert abs(game.canaries.mean() - 0.5) < 0.05
    assert abs(game.customers.mean() - 0.5) < 0.15
    assert np.array_equal(game.canaries, MembershipGame.sample(4000, 300, 1).canaries)
    assert MembershipGame.sample(0, 1, 2).customers.all()
