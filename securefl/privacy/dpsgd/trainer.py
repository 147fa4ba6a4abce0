"""DP-SGD at one member: the loop from Poisson batch to noised update.

Abadi et al. 2016, algorithm 1, with the Poisson sampling of Mironov, Talwar and Zhang 2019. The
shared parameters are released, and therefore noised. The public constants (rate, steps,
denominator, clip norm, noise multiplier) are fixed before; the accountant is charged for a round
before its first batch is drawn, and it outlives rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from securefl.ml.batches import Examples, sized_batch, sizes_of
from securefl.ml.eager import SGD, Adam
from securefl.ml.parameters import shared_parameters
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.dpsgd.aligned_products import AlignedProducts
from securefl.privacy.dpsgd.book_keeping import BookkeepingPath, is_known
from securefl.privacy.dpsgd.carried_sum import CarriedSum
from securefl.privacy.dpsgd.functorch import VectorisedPath
from securefl.privacy.dpsgd.optimizers import BookkeepingOptimizer, HooksOptimizer
from securefl.privacy.dpsgd.per_example import GradientPath, HooksPath, UnitLoss
from securefl.privacy.dpsgd.poisson_sampling import PoissonSampler, SamplingPlan
from securefl.privacy.dpsgd.private_rows import LocalRows
from securefl.privacy.dpsgd.synthetic_units import made_up_parameters, synthetic_units
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.grid import LARGEST_PLAIN_SUM, GridNoise

PathName = Literal["auto", "hooks", "bookkeeping", "vectorised"]

_ALIGNED: Final = 16
"""Units that go through the model together at least; a multiple of the rows that the kernels of
matrix products take at once."""
_LEAST_WIDTH: Final = 64
"""Width of the smallest units: with few widths, little is filled up."""
_OPTIMIZERS: dict[PathName, type[HooksOptimizer]] = {
    "hooks": HooksOptimizer,
    "bookkeeping": BookkeepingOptimizer,
    "vectorised": BookkeepingOptimizer,
}


@dataclass(frozen=True)
class PrivateSettings:
    """The public constants of a member's private training.

    Attributes:
        sampling: Rate q, steps a round and denominator.
        clip_norm: C, the largest norm of a unit's gradient.
        noise_multiplier: sigma; the noise on the sum has deviation sigma * C.
        optimizer: "adam" or "sgd", the same for the local rows.
        learning_rate: Its step size.
        weight_decay: L2 penalty, added after the noise.
        momentum: Of SGD.
        path: How gradients are computed; auto takes bookkeeping where it supports every layer.
        piece: Largest number of units processed at once; changes no number. 128 customers with
            10,000 scores each stay in the cache and take half the time of all at once.
    """

    sampling: SamplingPlan
    clip_norm: float
    noise_multiplier: float
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    momentum: float = 0.0
    path: PathName = "bookkeeping"
    piece: int = 128

    def __post_init__(self) -> None:
        if self.clip_norm <= 0 or self.noise_multiplier < 0 or self.piece < 1:
            raise ValueError("clip norm and piece must be positive, the noise not negative")

    @property
    def event(self) -> SampledGaussian:
        """The event of one round."""
        return SampledGaussian(
            noise_multiplier=self.noise_multiplier,
            sampling_rate=self.sampling.rate,
            steps=self.sampling.steps,
        )


class PrivateTrainer:
    """Trains one model privately on one member's units, over all rounds of a run.

    Args:
        model: Its shared parameters are trained privately, its local tables without noise.
        examples: The member's units.
        loss: The loss of each unit, [B]; row b depends on unit b alone.
        settings: The public constants.
        stream: The member's own CSPRNG.
        accountant: The member's own, charged round by round.
    """

    def __init__(
        self,
        model: nn.Module,
        examples: Examples,
        loss: UnitLoss,
        settings: PrivateSettings,
        *,
        stream: AesCtrRng,
        accountant: PrivacyAccountant,
    ) -> None:
        self.model = model
        self.examples = examples
        self.loss = loss
        self.settings = settings
        self.accountant = accountant
        self.noise = GridNoise(stream)
        self.sampler = PoissonSampler(settings.sampling, len(examples), stream)
        self._widths = _widths(sizes_of(examples))
        self.rows = LocalRows(model, settings.sampling.expected_batch)
        self.optimizer, self.path = self._private_path()
        self._checked = False
        self._row_optimizer = self._inner_optimizer(self.rows.parameters)

    def train_round(self) -> None:
        """Take the steps of one round from the model's present state; leave it releasable."""
        # Before the first batch: a run that fails midway has used the data and has to pay for it.
        self.accountant.charge(self.settings.event)
        self.model.train()
        for index in self.sampler:
            self.step(index)
        self.rows.end()

    def step(self, index: Tensor) -> None:
        """Take one step on the units `index`, int64 [b], b >= 0; noise is added whatever b is."""
        self._accumulate_all(index)
        self.optimizer.step()
        self._step_rows()

    def clipped_sum(self, index: Tensor) -> Tensor:
        """Return the sum of the clipped gradients of the units `index`, float64 [d], in wire order.

        It has no noise and must not leave the member as it is: the caller adds a noise share and a
        mask. The shared parameters stay as they are; the units' own rows are trained.
        """
        self._accumulate_all(index)
        total = self.optimizer.clipped_sum()
        self.optimizer.zero_grad(set_to_none=True)
        self._step_rows()
        self.rows.end()
        return total

    def close(self) -> None:
        """Remove all hooks from the model and return its parameters to autograd."""
        self.path.close()
        self.rows.close()

    def _accumulate_all(self, index: Tensor) -> None:
        self._check_layers()
        self.optimizer.zero_grad(set_to_none=True)
        if len(index) <= LARGEST_PLAIN_SUM:
            for piece, width in self._pieces(index):
                self._accumulate(piece, width)
            return
        # Not refused: how many customers a member has would then decide whether a round fails.
        carried = CarriedSum(sum(p.numel() for p in self.optimizer.params))
        for piece, width in self._pieces(index):
            self._accumulate(piece, width)
            self.optimizer.carry(carried)
        self.optimizer.settle(carried)

    def _pieces(self, index: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Yield units that go through the model together, and how wide each of them is made.

        A unit's width follows from its own number of rows. With the longest history of a batch for
        width, sums over a unit's rows would round differently beside a customer with more, and
        weights made for it would turn the last digit into another gradient for all.
        """
        widths = self._widths[index]
        for width in torch.unique(widths).tolist():
            for piece in torch.split(index[widths == width], self.settings.piece):
                yield piece, int(width)

    def _step_rows(self) -> None:
        if self._row_optimizer is not None:
            self.rows.complete()
            self._row_optimizer.step()
            self._row_optimizer.zero_grad(set_to_none=True)

    def _accumulate(self, index: Tensor, width: int) -> None:
        """Add the units' clipped gradients, in one pass whatever they are.

        The batch is filled up to a multiple of `_ALIGNED` units, which count nothing: products of
        matrices round a row differently at other batch sizes, and weights made for it would turn
        the last digit into another gradient for all. Gradients are on whatever the caller has set:
        without them a customer's part of a sum would be left out in silence.
        """
        filled = torch.cat([index, index[-1:].expand(-len(index) % _ALIGNED)])
        self.rows.begin(filled, len(index))
        batch = sized_batch(self.examples, filled, width)
        with torch.enable_grad(), AlignedProducts():  # type: ignore[no-untyped-call]
            self.path.accumulate(self.loss, batch)

    def _check_layers(self) -> None:
        """Check the path once, before a unit is read.

        On units and parameters that were made up: were it on the first batch, one customer, or
        what a coordinator sends, could decide whether a round fails.
        """
        if self._checked:
            return
        self._checked = True
        synthetic = synthetic_units(self.examples)
        with made_up_parameters(self.model):
            self.path.check(self.loss, synthetic)

    def _private_path(self) -> tuple[HooksOptimizer, GradientPath]:
        inner = self._inner_optimizer([*shared_parameters(self.model).values()])
        if inner is None:
            raise ValueError("the model shares no parameter")
        name = self.settings.path
        if name == "auto":
            name = "bookkeeping" if is_known(self.model) else "vectorised"
        optimizer = _OPTIMIZERS[name](
            inner,
            noise=self.noise,
            noise_multiplier=self.settings.noise_multiplier,
            clip_norm=self.settings.clip_norm,
            expected_batch=self.settings.sampling.expected_batch,
        )
        return optimizer, self._path(name, optimizer)

    def _path(self, name: PathName, optimizer: HooksOptimizer) -> GradientPath:
        if isinstance(optimizer, BookkeepingOptimizer):
            if name == "bookkeeping":
                return BookkeepingPath(self.model, self.rows, optimizer)
            return VectorisedPath(self.model, self.rows, optimizer)
        return HooksPath(self.model, self.rows, optimizer)

    def _inner_optimizer(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer | None:
        if not parameters:
            return None
        settings = self.settings
        if settings.optimizer == "adam":
            return Adam(
                parameters,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                fused=True,
            )
        return SGD(
            parameters,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )


def _widths(sizes: Tensor) -> Tensor:
    """Return the width of each unit, int64 [n]: a power of two; 0 where all are equally wide."""
    powers = 2 ** sizes.clamp(min=1).double().log2().ceil().long()
    return torch.where(sizes > 0, powers.clamp(min=_LEAST_WIDTH), 0)
