"""What a member does in a round: made by its mechanism, out of the updates that there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from securefl.config.schema import RunConfig
from securefl.ml.parameters import FloatVector, shared_vector
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
    """A `MemberContext`: what this member offers to the mechanism of the run.

    What needs Opacus is imported when it is asked for: that takes seconds, and a run without a
    budget has no use for it.

    Attributes:
        learner: The member's data, task and configuration.
        model: What is trained, in place.
        directory: Where the member keeps its files of this run.
        charges: Where the price of private training is written down.
        members: Members in the roster.
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
        plan.check_units(self.learner.data.name, self.learner.data.units)
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
        model: What is trained, in place.
        directory: Where the member keeps its files of this run.
        charges: Where the price of private training is written down.
        members: Members in the roster.

    Raises:
        InputError: If the member's data cannot be protected as the configuration says.
    """
    context = MemberUpdates(learner, model, directory, charges, members)
    return mechanism_for(learner.config.privacy).make_update(context)
