"""Canaries under noise that members share: what the sum of the fewest honest shares tells.

No member's share is large enough by itself. What is guaranteed is the sum of the shares that are
honest in the worst case: `t - colluding` of them. The attack adds up exactly so many, as they leave
the members under their masks; canaries are in the first member's.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from securefl.audit.attacks.canaries import (
    PULL,
    CanaryModel,
    CanaryTask,
    coordinates,
    small_member,
)
from securefl.audit.attacks.ephemeral_ledger import EphemeralLedger
from securefl.audit.attacks.probe import MembershipGame, Observed, canary_data, renamed
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.federation.member.updates.distributed_dp import DistributedUpdates
from securefl.federation.member.updates.factory import round_training
from securefl.ml.device import seed_draws
from securefl.ml.parameters import shared_vector
from securefl.privacy.accounting.spent import Spending
from securefl.tasks.common.learner import LocalProblem

MEMBERS = 3


def sharing_member(config: RunConfig) -> LocalProblem:
    """Return a small member with the run's budget and rounds, whose noise is shared.

    A round is one step on all units, so that scores are Gaussian.
    """
    privacy = config.privacy.model_copy(
        update={"dp": "distributed", "steps": 1, "sampling_rate": 1.0}
    )
    tree = config.model_dump() | {"mode": "secure", "privacy": privacy.model_dump()}
    return small_member(load_config(None, tree))


def observe_shares(learner: LocalProblem, game: MembershipGame, directory: Path) -> Observed:
    """Add up the honest shares of all rounds.

    Args:
        learner: The audited member, under distributed differential privacy.
        game: Included canaries and customers.
        directory: Folder of the members' ledgers; new and empty.

    Returns:
        The sum in each canary's coordinate, over all rounds and shares; its sign as in `probe`.
    """
    found, spending, honest = _shares(learner, game, directory / "0", MEMBERS)
    for number in range(1, honest):
        other = renamed(learner, f"{learner.data.name}-{number}")
        more, _, _ = _shares(other, game, directory / str(number), MEMBERS, pull=0.0)
        found = found + more
    return Observed(found, spending)


def _shares(
    learner: LocalProblem,
    game: MembershipGame,
    directory: Path,
    members: int,
    pull: float = PULL,
) -> tuple[npt.NDArray[np.float64], Spending | None, int]:
    """Return a member's total share, what it spent, and how many shares are honest at least."""
    seed_draws(learner.seed("audit", "start"))
    base = learner.task.model(learner.facts, learner.data.customers)
    model = CanaryModel(base, len(game.canaries))
    data = canary_data(learner, game, pull)
    audited = replace(learner, task=CanaryTask(learner.task, learner.config), data=data)
    directory.mkdir(parents=True)
    ledger = EphemeralLedger(data.name, learner.config, directory, len(data.examples))
    total = np.zeros(len(game.canaries))
    with closing(ledger.ledger) as charges:
        training = round_training(audited, model, directory, charges, members=members)
        assert isinstance(training, DistributedUpdates)
        for number in range(1, learner.config.rounds + 1):
            ledger.enter(number, shared_vector(model))
            total += coordinates(training.train(number).change, len(total))
        return total, training.spending(), training.plan.honest
