"""A member's training in a round, built by the privacy mechanism of the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from securefl.config.schema import RunConfig
from securefl.ml.parameters import clear_local, shared_vector
from securefl.ml.vectors import FloatVector
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise.csprng import AesCtrRng, member_stream
from securefl.privacy.round_updates import Charges, RoundTraining
from securefl.tasks.common.learner import LocalProblem

if TYPE_CHECKING:
    from securefl.federation.member.updates.release_cache import ReleaseCache
    from securefl.federation.member.updates.run_budget import RunBudget
from securefl.federation.member.updates.fedavg import FedAvgUpdates

RELEASE = "release.safetensors"
"""File of the last release of a mechanism with an update of its own."""


@dataclass(frozen=True)
class MemberUpdates:
    """A `MemberContext`: what this member provides to the mechanism of the run.

    Modules that need Opacus are imported on first use: that takes seconds, and a run without a
    budget does not need them.

    Attributes:
        learner: The member's data, task and configuration.
        model: The model, trained in place.
        directory: The folder of the member's files of this run.
        charges: The ledger's account, which private training is charged to.
        members: Number of members in the roster.
    """

    learner: LocalProblem
    model: nn.Module
    directory: Path
    charges: Charges
    members: int

    @property
    def config(self) -> RunConfig:
        """See `MemberContext`."""
        return self.learner.config

    def fedavg(self) -> RoundTraining:
        """See `MemberContext`."""
        return FedAvgUpdates(self.learner, self.model)

    def local_dp(self) -> RoundTraining:
        """See `MemberContext`."""
        from securefl.federation.member.updates.local_dp import LocalDpUpdates

        return LocalDpUpdates(self.learner, self.model, self.directory, self.charges)

    def gradient_sums(self) -> RoundTraining:
        """See `MemberContext`."""
        from securefl.federation.member.updates.gradient_sums import GradientSumUpdates

        return GradientSumUpdates(
            self.learner, self.model, self.directory, self.charges, self.members
        )

    def client_level(self) -> RoundTraining:
        """See `MemberContext`."""
        from securefl.federation.member.updates.client_level import ClientLevelUpdates

        return ClientLevelUpdates(
            self.learner, self.model, self.directory, self.charges, self.members
        )

    def shared(self) -> FloatVector:
        """See `MemberContext`."""
        return shared_vector(self.model)

    def budget(self) -> RunBudget:
        """See `MemberContext`."""
        from securefl.federation.member.updates.run_budget import RunBudget
        from securefl.privacy.plan import PrivacyPlan

        plan = PrivacyPlan.of(self.config)
        plan.check_delta(self.learner.data.name)
        return RunBudget(plan, self.charges)

    def releases(self) -> ReleaseCache:
        """See `MemberContext`."""
        from securefl.federation.member.updates.release_cache import ReleaseCache

        return ReleaseCache(self.directory / RELEASE, "release")

    def stream(self, number: int) -> AesCtrRng:
        """See `MemberContext`."""
        return member_stream(self.config.privacy, self.learner.data.name, number)


def round_training(
    learner: LocalProblem, model: nn.Module, directory: Path, charges: Charges, members: int
) -> RoundTraining:
    """Return the training that the configuration asks for.

    Args:
        learner: The member's data, task and configuration.
        model: The model, trained in place.
        directory: The folder of the member's files of this run.
        charges: The ledger's account, which private training is charged to.
        members: Number of members in the roster.

    Raises:
        InputError: If the member's data cannot be protected as the configuration says.
    """
    mechanism = mechanism_for(learner.config.privacy)
    if mechanism.by_example:
        # A model draws its rows from one public generator, in the order of the customers: without
        # one of them, every later customer would start from another row.
        clear_local(model)
    return mechanism.make_update(MemberUpdates(learner, model, directory, charges, members))
