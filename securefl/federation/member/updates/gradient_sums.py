"""Private gradient rounds: a round is one step, and its unit is a customer or a record.

The member samples its customers, sums their clipped gradients and rounds the sum to integers.
"""

from __future__ import annotations

from torch import Tensor

from securefl.federation.member.updates.distributed_dp import DistributedUpdates
from securefl.federation.member.updates.run_account import RunAccount
from securefl.ml.batches import Batch, Examples, sized_batch, sizes_of
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.dpsgd.poisson_sampling import PoissonSampler, SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.encoding.gradients import DoubleVector, gradient_integers
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.round_updates import RoundChange
from securefl_protocols.noise.words import Int64Vector


class GradientSumUpdates(DistributedUpdates):
    """Minus the mean gradient; the coordinator's optimizer moves the shared parameters by it."""

    def integers(self, number: int, stream: AesCtrRng, account: RunAccount) -> Int64Vector:
        """See `DistributedUpdates.integers`."""
        # On the CPU, in double precision: the bound on rounding errors is proven for that.
        self.model.to("cpu")
        clipped = self._clipped_sum(self.learner.units(number), stream, account)
        return gradient_integers(clipped, self.plan.base.settings, self.plan.signal)

    def train(self, number: int) -> RoundChange:
        """See `DistributedUpdates.train`.

        Raises:
            ConfigError: If delta is too large for the agreed number of units.
        """
        self.plan.base.check_delta(self.learner.data.name)
        return super().train(number)

    def _clipped_sum(
        self, examples: Examples, stream: AesCtrRng, account: PrivacyAccountant
    ) -> DoubleVector:
        """Return the sum of the clipped gradients of one Poisson batch, float64 [d].

        It is computed in double precision, because the rounding error of a float32 sum would have
        to be added to the sensitivity.
        """
        settings = self.plan.base.settings
        sampling = SamplingPlan(settings.sampling_rate, settings.steps, settings.expected_batch)
        trainer = PrivateTrainer(
            self.model.double(),
            DoubleExamples(examples),
            self.learner.task.loss,
            PrivateSettings(
                sampling=sampling,
                clip_norm=settings.clip_norm,
                noise_multiplier=0.0,  # the share is added to the sum, as integers
                optimizer=settings.optimizer,
                learning_rate=settings.learning_rate,
                path=settings.gradients,
            ),
            stream=stream,
            accountant=account,
        )
        try:
            index = PoissonSampler(sampling, len(examples), stream).batch()
            clipped: DoubleVector = trainer.clipped_sum(index).numpy()
            return clipped
        finally:
            trainer.close()
            self.model.float()


class DoubleExamples:
    """The same units in double precision."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def batch(self, index: Tensor) -> Batch:
        """See `Examples.batch`."""
        return _doubled(self._examples.batch(index))

    def sizes(self) -> Tensor:
        """See `SizedExamples.sizes`."""
        return sizes_of(self._examples)

    def sized_batch(self, index: Tensor, width: int) -> Batch:
        """See `SizedExamples.sized_batch`."""
        return _doubled(sized_batch(self._examples, index, width))


def _doubled(batch: Batch) -> Batch:
    return tuple(part.double() if part.is_floating_point() else part for part in batch)
