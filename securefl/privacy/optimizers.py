"""Opacus' optimizers with our noise, a fixed denominator, and no way around them.

`step` is the only way in which a private gradient reaches the parameters: sum of clipped per-unit
gradients, plus noise of standard deviation sigma * C, over the public expected batch size. An
empty batch steps as well, on noise alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from torch import Tensor
from torch.optim import Optimizer

from securefl.privacy.noise import GaussianNoise


class PrivacyBypassError(RuntimeError):
    """Something tried to train on gradients that were not clipped and noised."""


class HooksOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' `DPOptimizer` with noise from a key stream, and a guard on the inner optimizer.

    Args:
        optimizer: Does the step on the noised mean; it refuses to step on its own from now on.
        noise: Where the noise comes from.
        noise_multiplier: sigma.
        clip_norm: C.
        expected_batch: The public denominator.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        noise: GaussianNoise,
        noise_multiplier: float,
        clip_norm: float,
        expected_batch: float,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=clip_norm,
            expected_batch_size=expected_batch,
            loss_reduction="mean",
        )
        self.noise = noise
        self._noised = False
        optimizer.register_step_pre_hook(self._refuse_bypass)

    @property
    def accumulated_iterations(self) -> int:
        """One batch a step, however many pieces it was worked through in."""
        return 1

    def add_noise(self) -> None:
        """The clipped sums plus independent noise of deviation sigma * C, into `p.grad`."""
        gradients: list[Tensor] = []
        for parameter in self.params:
            gradient = getattr(parameter, "summed_grad", None)
            if gradient is None:
                gradient = torch.zeros_like(parameter)
            parameter.grad = gradient.contiguous().view_as(parameter)
            parameter.summed_grad = None
            gradients.append(parameter.grad)
        if self.noise_multiplier > 0:
            self.noise.add_(gradients, self.noise_multiplier * self.max_grad_norm)

    def pre_step(self, closure: Callable[[], float] | None = None) -> bool:
        """Everything but the inner optimizer's own step."""
        self.add_noise()
        self.scale_grad()
        if self.step_hook:
            self.step_hook(self)
        self._noised = True
        return True

    def _refuse_bypass(self, *_: object) -> None:
        if not self._noised:
            raise PrivacyBypassError("the inner optimizer only steps on noised gradients")
        self._noised = False


class GhostOptimizer(HooksOptimizer, DPOptimizerFastGradientClipping):  # type: ignore[misc]
    """The same over Opacus' optimizer for gradients that the second ghost pass has clipped."""


class BookkeepingOptimizer(HooksOptimizer):
    """A `DPOptimizer` that is handed sums of clipped gradients, never per-unit ones."""

    def accumulate(self, parameter: Tensor, clipped: Tensor) -> None:
        """Add a piece of the batch: `clipped` has the parameter's shape and is kept."""
        before = getattr(parameter, "summed_grad", None)
        total = clipped if before is None else before.add_(clipped)
        parameter.summed_grad = total  # type: ignore[attr-defined]

    def clip_and_accumulate(self) -> None:
        """Never called: there is no per-unit gradient to clip here."""
        raise PrivacyBypassError("bookkeeping clips before it sums")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients and clipped sums."""
        for parameter in self.params:
            parameter.summed_grad = None
        self.original_optimizer.zero_grad(set_to_none)
