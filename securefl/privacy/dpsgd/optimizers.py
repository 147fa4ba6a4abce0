"""Opacus' optimizers with cryptographic noise, a fixed denominator, and a guard against bypasses.

`step` is the only way in which a private gradient reaches the parameters: sum of clipped per-unit
gradients, plus noise of standard deviation sigma * C, over the public expected batch size. An
empty batch steps as well, on noise alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor
from torch.optim import Optimizer

from securefl.privacy.noise.gaussian import GaussianNoise


class PrivacyBypassError(RuntimeError):
    """An attempt to train on gradients that were not clipped and noised."""


class HooksOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' `DPOptimizer` with noise from a CSPRNG, and a guard on the inner optimizer.

    Args:
        optimizer: Takes the step on the noised mean; it refuses to step on its own from now on.
        noise: Source of the noise.
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
        """One batch a step, however many pieces it was processed in."""
        # Opacus would multiply the denominator by it, which depends on the size of the batch.
        return 1

    def add_noise(self) -> None:
        """Write the clipped sums plus independent noise of deviation sigma * C into `p.grad`."""
        gradients: list[Tensor] = []
        for parameter in self.params:
            gradient = getattr(parameter, "summed_grad", None)
            # An empty batch has noise as well: a step without noise would reveal that it was empty.
            if gradient is None:
                gradient = torch.zeros_like(parameter)
            parameter.grad = gradient.contiguous().view_as(parameter)
            parameter.summed_grad = None
            gradients.append(parameter.grad)
        if self.noise_multiplier > 0:
            self.noise.add_(gradients, self.noise_multiplier * self.max_grad_norm)

    def add_clipped(self, factors: Tensor) -> None:
        """Add each unit's gradient (`grad_sample`, [B, ...]), times its factor [B], to the sums."""
        for parameter in self.params:
            sample = parameter.grad_sample
            total = torch.tensordot(factors.to(sample.dtype), sample, dims=1)
            before = parameter.summed_grad
            parameter.summed_grad = total if before is None else before + total
            parameter.grad_sample = None

    def clipped_sum(self) -> Tensor:
        """Return the step's sum of clipped gradients over all parameters, [d]; it is not noised."""
        sums = [getattr(p, "summed_grad", None) for p in self.params]
        pairs = zip(sums, self.params, strict=True)
        return torch.cat([(torch.zeros_like(p) if s is None else s).flatten() for s, p in pairs])

    def pre_step(self, closure: Callable[[], float] | None = None) -> bool:
        """Add the noise and scale; return that the inner optimizer may step."""
        self.add_noise()
        self.scale_grad()
        if self.step_hook:
            self.step_hook(self)
        self._noised = True
        return True

    def _refuse_bypass(self, *_: object) -> None:
        if not self._noised:
            raise PrivacyBypassError("the inner optimizer only steps on noised gradients")
        self._noised = False  # one step for one draw of noise


class BookkeepingOptimizer(HooksOptimizer):
    """A `DPOptimizer` that receives sums of clipped gradients, never per-unit ones.

    The gradients of all parameters are pieces of one flat tensor, so that clearing, noise and
    scaling are one operation each, however many small layers the model has.
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
            noise=noise,
            noise_multiplier=noise_multiplier,
            clip_norm=clip_norm,
            expected_batch=expected_batch,
        )
        self._own: list[Tensor] = self.params
        self._flat = torch.zeros(sum(p.numel() for p in self._own), dtype=self._own[0].dtype)
        pieces = torch.split(self._flat, [p.numel() for p in self._own])
        views = [piece.view_as(p) for piece, p in zip(pieces, self._own, strict=True)]
        self._sums: dict[Tensor, Tensor] = dict(zip(self._own, views, strict=True))

    def sum_of(self, parameter: Tensor) -> Tensor:
        """Return the tensor that sums the clipped gradients of one parameter, of its shape."""
        return self._sums[parameter]

    def clipped_sum(self) -> Tensor:
        """See `HooksOptimizer`."""
        return self._flat.clone()

    def clip_and_accumulate(self) -> None:
        """Refuse: there is no per-unit gradient to clip here."""
        raise PrivacyBypassError("bookkeeping clips before it sums")

    def add_noise(self) -> None:
        """See `HooksOptimizer`."""
        if self.noise_multiplier > 0:
            self.noise.add_([self._flat], self.noise_multiplier * self.max_grad_norm)
        for parameter, total in self._sums.items():
            parameter.grad = total

    def scale_grad(self) -> None:
        """Divide by the public denominator."""
        self._flat.div_(self.expected_batch_size)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear gradients and clipped sums."""
        self._flat.zero_()
        for parameter in self._own:
            parameter.grad = None if set_to_none else torch.zeros_like(parameter)
