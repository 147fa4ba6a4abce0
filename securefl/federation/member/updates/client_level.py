"""Client-level DP: whole updates under noise shares, with a member as the privacy unit.

Training is as without privacy. For consortia so large that one update is hidden by the sum of all;
`privacy.encoding.client_update` has the mechanism.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from securefl.federation.member.updates.distributed_dp import DistributedUpdates
from securefl.federation.member.updates.run_account import RunAccount
from securefl.ml.parameters import shared_vector
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.round_updates import Charges
from securefl.tasks.common.learner import LocalProblem
from securefl_protocols.noise.words import Int64Vector


class ClientLevelUpdates(DistributedUpdates):
    """The change of the shared parameters over a round's local epochs, clipped as a whole."""

    def __init__(
        self,
        learner: LocalProblem,
        model: nn.Module,
        directory: Path,
        charges: Charges,
        members: int,
    ) -> None:
        super().__init__(learner, model, directory, charges, members)
        self._trainer = learner.trainer(model, learner.config.training)
        self.optimizer = self._trainer.optimizer

    def integers(self, number: int, stream: AesCtrRng, account: RunAccount) -> Int64Vector:
        """See `DistributedUpdates.integers`."""
        del stream, account
        whole = self.plan.code.whole
        assert whole is not None
        start = shared_vector(self.model).astype(np.float64)
        self._trainer.train(self.learner.seed("train", number), self.learner.units(number))
        return whole.encode(shared_vector(self.model) - start)
