"""What a member takes back of a round that members rejected: its own rows, and the moments."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from securefl.federation.member.checkpoint import NoOpStore
from securefl.federation.member.rounds import MemberRounds
from securefl.ml.eager import Adam
from securefl.ml.parameters import shared_vector
from securefl.ml.vectors import model_digest
from securefl.privacy.round_updates import RoundChange

START = np.zeros(3, np.float32)
COHORT = ("a", "b")


class Model(nn.Module):
    """Three shared numbers and three of the member's own."""

    local_parameters = frozenset({"own"})

    def __init__(self):
        super().__init__()
        self.shared, self.own = (nn.Parameter(torch.zeros(3)) for _ in range(2))


class Trainer:
    """Two steps of Adam a round towards a target that is another one in each round."""

    weight = 1

    def __init__(self, model):
        self._model = model
        self.optimizer = Adam(model.parameters(), lr=0.1)
        self.fails = False

    def train(self, number):
        start = shared_vector(self._model)
        for _ in range(2):
            self.optimizer.zero_grad()
            target = torch.arange(3.0) * number + 1.0
            (self._model.shared + self._model.own - target).square().sum().backward()
            self.optimizer.step()
            if self.fails:
                raise OSError("in the middle of a training")
        return RoundChange(shared_vector(self._model) - start, 0.0)


class Memory(NoOpStore):
    """Keeps trainings, as a journal does."""

    def __init__(self):
        self.kept = {}

    def recall(self, name):
        return self.kept.get(name)

    def keep(self, name, training):
        self.kept[name] = training


def member(memory=None, voted=lambda _: True):
    """A member that has trained nothing."""
    model = Model()
    ledger = SimpleNamespace(enter=lambda *_: None, trained=lambda: None)
    return MemberRounds(model, Trainer(model), ledger, memory or NoOpStore(), voted)


def own(rounds):
    """Own rows and all moments, as bytes."""
    tensors = {"own": rounds.model.own.detach(), **rounds.moments()}
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def train(rounds, *numbers):
    for number in numbers:
        rounds.update_of(number, START, COHORT, model_digest(START))


@pytest.mark.parametrize("before", [(), (1, 2)])
def test_rejected_round_leaves_rows_and_moments_as_they_were(before):
    rounds = member()
    train(rounds, *before)
    was = own(rounds)
    train(rounds, 3)
    assert own(rounds) != was
    rounds.take_back(3)
    assert own(rounds) == was
    rounds.take_back(3)  # a coordinator that restarts concludes a round twice
    assert own(rounds) == was


def test_rounds_behind_rejected_ones_train_as_if_these_had_not_been():
    honest, other = member(), member()
    train(honest, 1, 4)
    train(other, 1)
    for number in (2, 3):
        train(other, number)
        other.take_back(number)
    train(other, 4)
    assert own(other) == own(honest)
    assert np.array_equal(other.update.change, honest.update.change)


def test_vote_that_is_shown_late_takes_back_its_own_round_alone():
    """A coordinator that restarts may conclude a round while members are in the next one."""
    rounds = member()
    train(rounds, 1, 2)
    trained = own(rounds)
    rounds.take_back(1)
    assert own(rounds) == trained


def test_member_that_was_not_in_a_round_keeps_what_it_has():
    rounds = member()
    train(rounds, 1)
    trained = own(rounds)
    rounds.take_back(2)
    assert own(rounds) == trained


def test_round_tried_again_is_taken_back_whole():
    """A training that broke off had changed the rows before the second try began."""
    rounds = member()
    train(rounds, 1)
    was = own(rounds)
    rounds.trainer.fails = True
    with pytest.raises(OSError, match="in the middle"):
        train(rounds, 2)
    rounds.trainer.fails = False
    train(rounds, 2)
    rounds.take_back(2)
    assert own(rounds) == was


@pytest.mark.parametrize("killed", ["before it is saved", "saved", "saved, and asked again"])
def test_restarted_member_takes_back_the_same(tmp_path, killed):
    memory = Memory()
    first = member(memory)
    train(first, 1)
    first.save(tmp_path, 1, before=0)
    was = own(first)
    train(first, 2)
    if killed != "before it is saved":
        first.save(tmp_path, 2, before=1)
    again = member(memory)
    again.go_back_to(tmp_path, 1 if killed == "before it is saved" else 2)
    if killed != "saved":
        train(again, 2)
        assert np.array_equal(again.update.change, first.update.change)
    assert own(again) == own(first)
    for rounds in (first, again):
        rounds.take_back(2)
        assert own(rounds) == was
        train(rounds, 3)
    assert own(again) == own(first)


def test_rounds_without_a_vote_cost_no_room(tmp_path):
    sizes = {}
    for voted in (False, True):
        rounds = member(voted=lambda _, voted=voted: voted)
        train(rounds, 1, 2)
        rounds.save(tmp_path / str(voted), 2, before=1)
        (path,) = (tmp_path / str(voted)).iterdir()
        sizes[voted] = path.stat().st_size
        assert (b"before" in path.read_bytes()) is voted
    # Own rows, and two moments of each number.
    assert sizes[True] >= sizes[False] + 4 * (3 + 2 * 6)


def test_attack_goes_back_to_a_rejected_round_behind_a_restart(tmp_path):
    """The vote is in the ledger; a coordinator need not show it a second time."""
    rounds, again = member(), member()
    was = own(rounds)
    train(rounds, 1)
    rounds.save(tmp_path, 1, before=0)
    again.rejected = lambda number: number == 1
    again.go_back_to(tmp_path, 1)
    assert own(again) == own(rounds) != was
    again.take_back_again()
    assert own(again) == was


@pytest.mark.parametrize("best", [1, 2])
def test_attack_names_a_round_the_best_before_its_vote_is_shown(best):
    """What the result is served with is then of the round before the rejected one."""
    rounds = member()
    train(rounds, 1)
    was = rounds.model.own.detach().clone()
    if best == 1:
        rounds.keep()
    train(rounds, 2)
    if best == 2:
        rounds.keep()
    rounds.take_back(2)
    assert torch.equal(rounds.kept["own"], was)
