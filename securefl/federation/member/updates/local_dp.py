"""Local DP: a member's private training over a run, calibrated before the first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from securefl.federation.member.updates.noisy_series import NoisySeriesTrainer
from securefl.federation.member.updates.release_cache import ReleaseCache
from securefl.federation.member.updates.run_account import RunAccount
from securefl.federation.member.updates.run_budget import RunBudget
from securefl.ml.parameters import load_shared, shared_vector
from securefl.privacy.accounting.spent import Spending
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng, member_stream
from securefl.privacy.noise.torch_rng import seed_torch_rng
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.round_updates import Charges, RoundChange
from securefl.tasks.common.learner import LocalProblem

RELEASE = "release.safetensors"


class LocalDpUpdates:
    """The private training of one member's model, round after round, within the run's budget.

    Every round has a random stream and an optimizer of its own; the only lasting state is the
    ledger. The noise follows from what is left of the budget, so that a restarted member goes on
    from what its ledger has.

    Args:
        learner: The member's data, task and configuration.
        model: The model; its shared parameters are released.
        directory: The folder of the update that was released last.
        charges: The ledger's account; a round is charged before its data are used.
    """

    weight = 1
    """The same for every member: a sample count depends on customers, and is not released."""
    optimizer = None
    """Without state between rounds: each round has a new optimizer."""

    def __init__(
        self, learner: LocalProblem, model: nn.Module, directory: Path, charges: Charges
    ) -> None:
        self.plan = PrivacyPlan.of(learner.config)
        self._budget = RunBudget(self.plan, charges)
        self._directory = directory
        self._releases = ReleaseCache(directory / RELEASE, "end")
        self._learner = learner
        self._model = model

    def train(self, number: int) -> RoundChange:
        """Run the private steps of a round, and return the change of the model.

        The loss is always 0: it depends on customers, and is not released.

        Raises:
            RefusedError: If nothing is left of the budget, or of the member's cap; nothing was
                trained.
            ConfigError: If no noise keeps to the budget at all, or delta is too large for so many
                units.
        """
        self.plan.check_delta(self._learner.data.name)
        self._model.to("cpu")
        start = shared_vector(self._model)
        # A release that was made before a kill is sent again: it is paid for, and a second one of
        # the same round would have to be paid for as well.
        kept = self._releases.get(number, start)
        if kept is None:
            self._train(number)
            self._releases.put(number, start, shared_vector(self._model))
        else:
            load_shared(self._model, kept[0].astype(np.float32, copy=False))
        return RoundChange(shared_vector(self._model) - start, 0.0)

    def spending(self) -> Spending:
        """Return what the member has spent so far."""
        return self._budget.spending()

    def _train(self, number: int) -> None:
        stream = member_stream(self.plan.settings, self._learner.data.name, number)
        seed_torch_rng(stream)
        account = self._budget.account(stream.description)
        trainer = self._trainer(number, stream, account)
        try:
            trainer.train_round()
        finally:
            trainer.close()

    def _trainer(
        self, number: int, stream: AesCtrRng, account: RunAccount
    ) -> PrivateTrainer | NoisySeriesTrainer:
        """Return the trainer: noise on each step's gradients, or on the series of all steps."""
        learner, settings = self._learner, self._settings(number)
        if learner.task.input_perturbation is not None:
            return NoisySeriesTrainer(
                learner,
                self._model,
                settings.noise_multiplier,
                settings.clip_norm,
                self._directory,
                stream=stream,
                accountant=account,
            )
        return PrivateTrainer(
            self._model,
            learner.units(number),
            learner.task.loss,
            settings,
            stream=stream,
            accountant=account,
        )

    def _settings(self, number: int) -> PrivateSettings:
        settings = self.plan.settings
        rate = settings.sampling_rate
        return PrivateSettings(
            sampling=SamplingPlan(rate, settings.steps, settings.expected_batch),
            clip_norm=settings.clip_norm,
            noise_multiplier=self._budget.noise_multiplier(number),
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            path=settings.gradients,
        )
