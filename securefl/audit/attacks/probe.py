"""Training of a member with canaries among its customers, by the code path of every run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

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
from securefl.ml.device import seed_draws
from securefl.ml.parameters import shared_vector
from securefl.ml.vectors import FloatVector
from securefl.privacy.accounting.spent import Spending
from securefl.tasks.base import MemberData
from securefl.tasks.common.learner import LocalProblem

Mask = npt.NDArray[np.bool_]
"""Which canaries or customers are included."""


@dataclass(frozen=True)
class MembershipGame:
    """The membership game: a random inclusion of canaries and customers.

    Attributes:
        canaries: Included canaries, bool [m].
        customers: Included customers of the member, bool [n], at least one.
    """

    canaries: Mask
    customers: Mask

    @classmethod
    def sample(cls, canaries: int, customers: int, seed: int) -> MembershipGame:
        """Include each with probability 1/2, and at least one customer."""
        rng = np.random.default_rng(seed)
        inside = rng.random(customers) < 0.5
        inside[0] |= not inside.any()
        return cls(rng.random(canaries) < 0.5, inside)


@dataclass(frozen=True)
class Observed:
    """What an attacker has of each canary, and what was claimed for it.

    Attributes:
        scores: Total release in each canary's place, float64 [m].
        spending: The member's account.
    """

    scores: npt.NDArray[np.float64]
    spending: Spending | None


@dataclass(frozen=True)
class CanaryTraining:
    """Releases of one training, and its claimed privacy loss.

    Attributes:
        model: The released model, with the canaries' coordinates.
        releases: The shared vector before the first round and after each, float32 [d] each.
        spending: The member's account; None for training without a budget.
        drawn: Which units were read in each round, as often as they were, int64 [reads] each.
        units: Number of the member's units.
    """

    model: CanaryModel
    releases: tuple[FloatVector, ...]
    spending: Spending | None
    drawn: tuple[npt.NDArray[np.int64], ...] = ()
    units: int = 0

    @property
    def rounds(self) -> int:
        """Return the number of rounds with a release."""
        return len(self.releases) - 1

    def scores(self, canaries: int) -> npt.NDArray[np.float64]:
        """Return the total change of each canary's coordinate over all rounds, float64 [m]."""
        total: npt.NDArray[np.float64] = self.by_round(canaries).sum(axis=0)
        return total

    def by_round(self, canaries: int) -> npt.NDArray[np.float64]:
        """Return the change of each canary's coordinate in each round, float64 [rounds, m]."""
        found = [coordinates(release, canaries) for release in self.releases]
        changes: npt.NDArray[np.float64] = np.diff(np.array(found), axis=0)
        return changes


def probe(
    learner: LocalProblem,
    game: MembershipGame,
    directory: Path,
    *,
    pull: float = PULL,
    task: type[CanaryTask] = CanaryTask,
    starts: Callable[[nn.Module], None] | None = None,
) -> CanaryTraining:
    """Train all rounds with the included canaries and customers.

    Args:
        learner: The audited member's local problem.
        game: Included canaries and customers.
        directory: Folder of the member's ledger; new and empty.
        pull: Norm of a canary's gradient in clip norms; with 0, canaries leave no signal but still
            count as customers.
        task: How canaries act.
        starts: Changes the model before the first step.
    """
    seed_draws(learner.seed("audit", "start"))
    base = learner.task.model(learner.facts, learner.data.customers)
    if starts is not None:
        starts(base)
    model = CanaryModel(base, len(game.canaries))
    audited = replace(
        learner, task=task(learner.task, learner.config), data=canary_data(learner, game, pull)
    )
    return _trained(audited, model, directory)


def canary_data(learner: LocalProblem, game: MembershipGame, pull: float = PULL) -> MemberData:
    """Return a member's included customers, and the included canaries."""
    examples = CanaryExamples(
        base=learner.data.examples,
        customers=torch.from_numpy(np.flatnonzero(game.customers)),
        slots=torch.from_numpy(np.flatnonzero(game.canaries)),
        padding=len(game.canaries),
        pull=pull * learner.config.privacy.clip_norm,
    )
    return MemberData(learner.data.name, examples, len(examples), learner.data.customers)


def _trained(learner: LocalProblem, model: CanaryModel, directory: Path) -> CanaryTraining:
    name, units = learner.data.name, len(learner.data.examples)
    ephemeral = EphemeralLedger(name, learner.config, directory, units)
    releases = [shared_vector(model)]
    examples, drawn = learner.data.examples, []
    assert isinstance(examples, CanaryExamples)
    with closing(ephemeral.ledger) as ledger:
        training = round_training(learner, model, directory, ledger, members=1)
        for number in range(1, learner.config.rounds + 1):
            ephemeral.enter(number, releases[-1])
            examples.drawn.clear()
            training.train(number)
            releases.append(shared_vector(model))
            drawn.append(np.array(examples.drawn, dtype=np.int64))
        return CanaryTraining(model, tuple(releases), training.spending(), tuple(drawn), units)


def renamed(learner: LocalProblem, name: str) -> LocalProblem:
    """Return the same data under another member name."""
    return replace(learner, data=replace(learner.data, name=name))


def unprotected(learner: LocalProblem) -> LocalProblem:
    """Return the same member without a privacy budget."""
    return replace(learner, config=learner.config.model_copy(update={"privacy": PrivacySettings()}))
