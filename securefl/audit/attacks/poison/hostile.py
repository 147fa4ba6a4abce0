"""A hostile member: the real one, with real messages, whose training is another's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from securefl.audit.attacks.poison.purchases import Ints
from securefl.audit.attacks.poison.table import Attack
from securefl.audit.attacks.poison.updates import View
from securefl.config.schema import RunConfig
from securefl.federation.member.member import Member
from securefl.federation.member.refusing import RefusingMember
from securefl.federation.member.spec import MemberSpec
from securefl.ml.parameters import shared_parameters, shared_vector
from securefl.ml.seeds import derive_seed
from securefl.privacy.accounting.spent import Spending
from securefl.privacy.round_updates import RoundChange, RoundTraining


class PoisonedTraining:
    """The training of a member whose update is changed before anything else sees it.

    Args:
        honest: The member's own training.
        model: Its model.
        config: The run's configuration.
        attack: What is done.
        targets: The products that it is about, int64 [T].
        members: Number of members.
    """

    def __init__(
        self,
        honest: RoundTraining,
        model: nn.Module,
        config: RunConfig,
        attack: Attack,
        *,
        targets: Ints,
        members: int,
    ) -> None:
        self._honest, self._model, self._attack = honest, model, attack
        self._limit = config.secure.limit
        shapes = {name: tuple(p.shape) for name, p in shared_parameters(model).items()}
        self._view = partial(View, layout=shapes, targets=targets, members=members)
        self._seed = partial(derive_seed, config.seed, "poison")
        most = config.secure.max_samples
        self.weight = min(max(honest.weight * attack.weight, honest.weight), most)

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """See `RoundTraining`."""
        return self._honest.optimizer

    def spending(self) -> Spending | None:
        """See `RoundTraining`."""
        return self._honest.spending()

    def train(self, number: int) -> RoundChange:
        """See `RoundTraining`; a member refuses to send coordinates beyond the agreed limit."""
        before = shared_vector(self._model)
        done = self._honest.train(number)
        if self._attack.update is None:
            return done
        rng = np.random.default_rng(self._seed(number))
        change = np.asarray(done.change, dtype=np.float64)
        poisoned = self._attack.update(self._view(change=change, shared=before, rng=rng))
        inside = np.clip(poisoned, -self._limit, self._limit).astype(np.float32)
        return RoundChange(inside, done.loss, done.layers)


@dataclass(frozen=True)
class HostileSpec:
    """The spec of a member that attacks the others.

    Attributes:
        spec: The member's own spec, with the data that it trains on.
        attack: What it does.
        targets: The products that it is about, int64 [T].
    """

    spec: MemberSpec
    attack: Attack
    targets: Ints

    @property
    def name(self) -> str:
        """The member's name."""
        return self.spec.name

    @property
    def cost(self) -> int:
        """Number of training samples."""
        return self.spec.cost

    def build(self) -> Member | RefusingMember:
        """Return the member."""
        member = self.spec.build()
        if isinstance(member, Member):
            rounds, members = member.rounds, len(self.spec.consortium.roster.names)
            rounds.trainer = PoisonedTraining(
                rounds.trainer,
                member.model,
                member.config,
                self.attack,
                targets=self.targets,
                members=members,
            )
        return member
