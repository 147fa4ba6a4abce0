"""Opacus' optimizers with exact integer noise, a fixed denominator, and a guard against bypasses.

`step` is the only way in which a private gradient reaches the parameters: the sum of clipped
per-unit gradients, in float64, rounded to a grid and noised there (`GridNoise`), over the public
expected batch size. An empty batch steps as well, on noise alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor
from torch.optim import Optimizer

from securefl.privacy.dpsgd.carried_sum import CarriedSum
from securefl.privacy.noise.grid import Grid, GridNoise


class PrivacyBypassError(RuntimeError):
    """An attempt to train on gradients that were not clipped and noised."""


class HooksOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' `DPOptimizer` with noise on a grid, and a guard on the inner optimizer.

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
        noise: GridNoise,
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
        """Write the clipped sums, rounded and noised, over the public denominator into `p.grad`."""
        # An empty batch has noise as well: a step without noise would reveal that it was empty.
        sums = self.clipped_sum()
        released = sums.new_empty(len(sums), dtype=self.params[0].dtype)
        self._release(sums, released)
        pieces = torch.split(released, [p.numel() for p in self.params])
        for parameter, piece in zip(self.params, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
            parameter.summed_grad = None

    def scale_grad(self) -> None:
        """Do nothing: `add_noise` has divided by the public denominator."""

    def _release(self, sums: Tensor, released: Tensor) -> None:
        """Write the noised mean of `sums` (float64 [d]) into `released` (of parameters' dtype)."""
        scale = 1 / self.expected_batch_size
        if self.noise_multiplier > 0:
            grid = Grid.of(self.max_grad_norm, len(sums), self.noise_multiplier)
            self.noise.release(sums.numpy(), grid, released.numpy(), scale)
        else:
            torch.mul(sums, scale, out=sums)
            released.copy_(sums)

    def add_clipped(self, factors: Tensor) -> None:
        """Add each unit's gradient (`grad_sample`, [B, ...]), times its factor [B], to the sums."""
        for parameter in self.params:
            sample = parameter.grad_sample
            total = torch.tensordot(factors.double(), sample.double(), dims=1)
            before = parameter.summed_grad
            parameter.summed_grad = total if before is None else before + total
            parameter.grad_sample = None

    def carry(self, carried: CarriedSum) -> None:
        """Move the sums so far to `carried`, and begin again at 0."""
        carried.add(self.clipped_sum())
        self._put(None)

    def settle(self, carried: CarriedSum) -> None:
        """Take the sums that were moved to `carried` as those of the step."""
        self._put(carried.value())

    def _put(self, sums: Tensor | None) -> None:
        """Replace the sums by others, float64 [d]; None clears them."""
        if sums is None:
            for parameter in self.params:
                parameter.summed_grad = None
            return
        pieces = torch.split(sums, [p.numel() for p in self.params])
        for parameter, piece in zip(self.params, pieces, strict=True):
            parameter.summed_grad = piece.view_as(parameter)

    def clipped_sum(self) -> Tensor:
        """Return the step's sum of clipped gradients, float64 [d]; it is not noised."""
        sums = [getattr(p, "summed_grad", None) for p in self.params]
        pairs = zip(sums, self.params, strict=True)
        return torch.cat(
            [(torch.zeros_like(p) if s is None else s).double().flatten() for s, p in pairs]
        )

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

    The sums of all parameters are pieces of one flat tensor, in float64, and so are the noised
    gradients, so that clearing and noise are one operation each, however many layers there are.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        noise: GridNoise,
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
        self._flat = torch.zeros(sum(p.numel() for p in self._own), dtype=torch.float64)
        self._released = torch.zeros(len(self._flat), dtype=self._own[0].dtype)
        self._sums = self._pieces(self._flat)
        self._gradients = self._pieces(self._released)

    def sum_of(self, parameter: Tensor) -> Tensor:
        """Return the tensor that sums the clipped gradients of one parameter, of its shape."""
        return self._sums[parameter]

    def clipped_sum(self) -> Tensor:
        """See `HooksOptimizer`."""
        return self._flat.clone()

    def _put(self, sums: Tensor | None) -> None:
        """See `HooksOptimizer`."""
        self._flat.zero_() if sums is None else self._flat.copy_(sums)

    def clip_and_accumulate(self) -> None:
        """Refuse: there is no per-unit gradient to clip here."""
        raise PrivacyBypassError("bookkeeping clips before it sums")

    def add_noise(self) -> None:
        """See `HooksOptimizer`."""
        self._release(self._flat, self._released)
        for parameter, gradient in self._gradients.items():
            parameter.grad = gradient

    def _pieces(self, flat: Tensor) -> dict[Tensor, Tensor]:
        """Return the part of a flat tensor that belongs to each parameter, of its shape."""
        pieces = torch.split(flat, [p.numel() for p in self._own])
        return {p: piece.view_as(p) for piece, p in zip(pieces, self._own, strict=True)}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear gradients and clipped sums."""
        self._flat.zero_()
        for parameter in self._own:
            parameter.grad = None if set_to_none else torch.zeros_like(parameter)
