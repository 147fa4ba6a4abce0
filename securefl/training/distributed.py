"""Private gradient rounds: clipped sums with a noise share, for a masked sum that hides customers.

Every round is one step. The member draws its customers, sums their clipped gradients, rounds the
sum to integers and adds its own share of integer noise; that is handed over to be masked, and
nothing else. No share is enough by itself: the shares of all honest survivors together are.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from securefl.errors import ConfigError
from securefl.models.locality import shared_vector
from securefl.privacy.accounting import PrivacyAccountant
from securefl.privacy.distributed import DistributedPlan
from securefl.privacy.gradient_code import LARGEST_BATCH, DoubleVector, noised
from securefl.privacy.keystream import KeyStream
from securefl.privacy.layered_noise import layered_sampler
from securefl.privacy.sampler import PoissonSampler, SamplingPlan
from securefl.privacy.spending import Spending
from securefl.privacy.streams import member_stream
from securefl.privacy.training import PrivateSettings, PrivateTrainer
from securefl.tasks.base import Batch, Examples
from securefl.training.coins import set_coins
from securefl.training.kept_release import KeptRelease
from securefl.training.learner import Learner
from securefl.training.rounds import Charges, RoundChange
from securefl.training.run_budget import RunBudget
from securefl_protocols.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise_layers import ForgottenLayers, NoiseChain
from securefl_protocols.noise_words import Words
from securefl_protocols.skellam import Skellam

RELEASE = "share.safetensors"


class DistributedRounds:
    """One member's side of training under distributed differential privacy.

    Args:
        learner: The member's data, task and configuration.
        model: Its shared parameters stay as the coordinator sent them; its own rows are trained.
        directory: Where the member keeps the share that it handed over last.
        charges: Where a round's price is written down before the data are touched.
        members: Members in the roster.

    Raises:
        ConfigError: If no honest member is left in a sum.
    """

    weight = 1
    """The same for every member: a sample count is a fact about customers, and not released."""
    optimizer = None
    """Nothing to keep: the coordinator's optimizer moves the shared parameters."""

    def __init__(
        self,
        learner: Learner,
        model: nn.Module,
        directory: Path,
        charges: Charges,
        members: int,
    ) -> None:
        self.plan = DistributedPlan.of(learner.config, members, len(shared_vector(model)))
        self._budget = RunBudget(self.plan.base, charges)
        self._kept = KeptRelease(directory / RELEASE, "share")
        self._learner = learner
        self._model = model

    def train(self, number: int) -> RoundChange:
        """The step of a round: minus the noised mean gradient, in multiples of the agreed step.

        The loss is 0, whatever it was: it is a fact about customers, and not released.

        Raises:
            RefusedError: If nothing is left of the budget, or of the member's cap; nothing was
                trained.
            ConfigError: If no noise keeps to the budget at all, or delta says nothing for so many
                units.
        """
        self._check_units()
        self._model.to("cpu")
        start = shared_vector(self._model)
        kept = self._kept.recall(number, start)
        if kept is not None:
            share, anchor = kept
            # What opens the layers is in no file: whoever was restarted takes nothing back.
            forgotten = ForgottenLayers(bytes.fromhex(anchor)) if anchor else None
            return RoundChange(share, 0.0, forgotten)
        share, layers = self._share(number)
        self._kept.keep(number, start, share, layers.anchor.hex() if layers else "")
        return RoundChange(share, 0.0, layers)

    def spending(self) -> Spending:
        """What the member has spent so far."""
        return self._budget.spending()

    def _check_units(self) -> None:
        data = self._learner.data
        self.plan.base.check_units(data.name, data.units)
        if len(data.examples) > LARGEST_BATCH:
            raise ConfigError(f"{data.name}: more than {LARGEST_BATCH:,} units in a sum")

    def _share(self, number: int) -> tuple[DoubleVector, NoiseChain | None]:
        settings = self.plan.base.settings
        stream = member_stream(settings, self._learner.data.name, number)
        set_coins(stream)
        account = self._budget.account(stream.description)
        account.charge(self.plan.event)
        clipped = self._clipped_sum(stream, account)
        noise, layers = self._noise(stream)
        return noised(clipped, settings, self.plan.limit, noise), layers

    def _noise(self, stream: KeyStream) -> tuple[Words, NoiseChain | None]:
        """A share, in one piece or in layers that can be opened."""
        dimension, layers = self.plan.dimension, self.plan.layers
        if layers is None:
            share = np.empty(dimension, dtype=np.int64)
            self._sampler.fill(stream, share)
            return share, None
        chain = NoiseChain(stream.words(4).tobytes(), layers.removable)
        return layered_sampler(layers).share(chain, dimension), chain

    @cached_property
    def _sampler(self) -> DiscreteGaussian | Skellam:
        """Of every round's share; its tables take longer to make than to use."""
        return self.plan.noise.sampler()

    def _clipped_sum(self, stream: KeyStream, account: PrivacyAccountant) -> DoubleVector:
        """Sum of the clipped gradients of one Poisson batch, float64 [d].

        It is computed in double precision, because what a float32 sum is off by would have to be
        paid for.
        """
        settings, examples = self.plan.base.settings, self._learner.data.examples
        sampling = SamplingPlan(settings.sampling_rate, settings.steps, settings.expected_batch)
        trainer = PrivateTrainer(
            self._model.double(),
            DoubleExamples(examples),
            self._learner.task.loss,
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
            self._model.float()


class DoubleExamples:
    """The same units in double precision."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def batch(self, index: Tensor) -> Batch:
        """See `Examples.batch`."""
        batch = self._examples.batch(index)
        return tuple(part.double() if part.is_floating_point() else part for part in batch)
