"""Trains a member with canaries among its customers, by the path that every run takes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from securefl.audit.attacks.canaries import (
    PULL,
    CanaryExamples,
    CanaryModel,
    CanaryTask,
    coordinates,
)
from securefl.audit.attacks.ephemeral_ledger import EphemeralLedger
from securefl.config.privacy import PrivacySettings
from securefl.federation.member.updates.factory import round_training
from securefl.ml.parameters import FloatVector, shared_vector
from securefl.privacy.accounting.spent import Spending
from securefl.tasks.base import MemberData
from securefl.tasks.common.learner import LocalProblem

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MembershipGame:
    """The auditor's coins: who takes part.

    Attributes:
        canaries: Which canaries, bool [m].
        customers: Which of the member's customers, bool [n], at least one.
    """

    canaries: Mask
    customers: Mask

    @classmethod
    def sample(cls, canaries: int, customers: int, seed: int) -> MembershipGame:
        """A fair coin for each; one customer at least is in."""
        rng = np.random.default_rng(seed)
        inside = rng.random(customers) < 0.5
        inside[0] |= not inside.any()
        return cls(rng.random(canaries) < 0.5, inside)


@dataclass(frozen=True)
class CanaryTraining:
    """What a training released, and what it was said to cost.

    Attributes:
        model: The released model, canaries' coordinates beside it.
        releases: The shared vector before the first round and after each, float32 [d] each.
        spending: The member's own account; None for a training without a budget.
    """

    model: CanaryModel
    releases: tuple[FloatVector, ...]
    spending: Spending | None

    @property
    def rounds(self) -> int:
        """Rounds in which something was released."""
        return len(self.releases) - 1

    def scores(self, canaries: int) -> npt.NDArray[np.float64]:
        """How far each canary's coordinate moved over all rounds, float64 [m]."""
        first, last = self.releases[0], self.releases[-1]
        return coordinates(last, canaries) - coordinates(first, canaries)


def probe(
    learner: LocalProblem, game: MembershipGame, directory: Path, *, pull: float = PULL
) -> CanaryTraining:
    """Train all rounds with the canaries and customers that the coins chose.

    Args:
        learner: The member that is audited; its name is that of the member.
        game: Who takes part.
        directory: Where the member keeps its book; new and empty.
        pull: Norm of a canary's gradient in clip norms; with 0 it leaves no trace, and the member
            still has as many customers.
    """
    torch.manual_seed(learner.seed("audit", "start"))
    base = learner.task.model(learner.facts, learner.data.customers)
    model = CanaryModel(base, len(game.canaries))
    examples = CanaryExamples(
        base=learner.data.examples,
        customers=torch.from_numpy(np.flatnonzero(game.customers)),
        slots=torch.from_numpy(np.flatnonzero(game.canaries)),
        nobody=len(game.canaries),
        pull=pull * learner.config.privacy.clip_norm,
    )
    data = MemberData(learner.data.name, examples, len(examples), learner.data.customers)
    audited = replace(learner, task=CanaryTask(learner.task, learner.config), data=data)
    return _trained(audited, model, directory)


def _trained(learner: LocalProblem, model: CanaryModel, directory: Path) -> CanaryTraining:
    name, units = learner.data.name, len(learner.data.examples)
    book = EphemeralLedger(name, learner.config, directory, units)
    releases = [shared_vector(model)]
    with closing(book.ledger) as ledger:
        training = round_training(learner, model, directory, ledger, members=1)
        for number in range(1, learner.config.rounds + 1):
            book.enter(number, releases[-1])
            training.train(number)
            releases.append(shared_vector(model))
        return CanaryTraining(model, tuple(releases), training.spending())


def renamed(learner: LocalProblem, name: str) -> LocalProblem:
    """The same data at another member."""
    return replace(learner, data=replace(learner.data, name=name))


def unprotected(learner: LocalProblem) -> LocalProblem:
    """The same member without a budget."""
    return replace(learner, config=learner.config.model_copy(update={"privacy": PrivacySettings()}))
