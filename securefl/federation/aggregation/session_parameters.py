"""The parameters of a session, which members and coordinator compute each for itself.

Nothing here is taken from a message: a parameter that the coordinator could choose would be a way
to attack. What is agreed enters the session's context, so that parties that differ in it cannot
complete a round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from securefl.config.cohort import least_survivors
from securefl.config.schema import RunConfig
from securefl.ml.vectors import UpdateVector
from securefl.privacy.mechanisms import SumFormat, mechanism_for
from securefl_protocols.encoding.fixed_point import FixedPoint, WeightedMean
from securefl_protocols.encoding.rotation import Rotation
from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.primitives.ring import RingDtype, RingVector
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.context import SessionContext, labelled_digest

if TYPE_CHECKING:
    from securefl.privacy.noise.xnoise import LayerPlan
from securefl.consortium.agreement.context import Consortium

TERMS_LABEL = b"securefl/1/terms"
LOSS_RANGE = float(1 << 20)
"""Largest training loss that can be summed; it is telemetry and shares the update's format."""


@dataclass(frozen=True)
class SessionParams:
    """The number format, plan and context of one session.

    Attributes:
        encoding: How changes become integers.
        plan: The session plan.
        context: Bound into every message.
        dimension: d, coordinates of the shared model.
        layers: How the members' noise is split, where excess noise is removed.
        rotation: The rotation of whole updates, where a member is the privacy unit.
    """

    encoding: FixedPoint
    plan: SessionPlan
    context: SessionContext = field(repr=False)
    dimension: int
    layers: LayerPlan | None = None
    rotation: Rotation | None = None

    def decode(self, total: RingVector, opened: Mapping[int, Sequence[bytes]]) -> WeightedMean:
        """Return the weighted mean of a sum, with excess noise removed.

        Args:
            total: The sum as it was unmasked, in the ring [d + 2]; loss and weight come last.
            opened: By survivor, the keys of its noise layers that are removed.

        Returns:
            The mean change and, last, the mean loss: [d + 1].

        Raises:
            RangeError: If the sum is outside what so many members can add up to.
        """
        if self.layers is not None and opened:
            from securefl.privacy.noise.xnoise import layered_sampler

            taken = layered_sampler(self.layers).excess(opened.values(), total.size - 2)
            total = total.copy()
            signed = total.view(self.encoding.ring.signed_dtype)
            signed[:-2] -= taken.astype(signed.dtype)
        decoded = self.encoding.decode(total)
        if self.rotation is None:
            return decoded
        change = self.rotation.inverse(decoded.mean[:-1])
        return WeightedMean(np.append(change, decoded.mean[-1]), decoded.total_weight)


def agreed_encoding(config: RunConfig, members: int, dimension: int) -> FixedPoint:
    """Return the fixed-point encoding of a cohort's changes without integer noise.

    With `bits = "auto"`, 32 bits are used where `FixedPoint.error_bound` is within the tolerance
    for the smallest agreed sum of the sample counts, and for one sample where none was agreed.

    Args:
        config: What was agreed.
        members: Members of the cohort.
        dimension: d.

    Raises:
        PlanError: If the numbers do not fit the ring.
    """
    settings = config.secure
    finest = partial(
        FixedPoint.finest,
        members=members,
        max_weight=settings.max_samples,
        limit=settings.limit,
    )
    if settings.bits == "auto":
        with suppress(PlanError):
            narrow = finest(ring=RingDtype.UINT32)
            least = max(1, members * settings.min_samples)
            if narrow.error_bound(members, least) <= settings.tolerance:
                return narrow
    return finest(ring=RingDtype(settings.widest))


def agreed_format(config: RunConfig, roster: int, cohort: int, dimension: int) -> SumFormat:
    """Return the number format of a cohort's masked sum.

    Args:
        config: What was agreed.
        roster: Members of the consortium.
        cohort: Members of the session.
        dimension: d.

    Raises:
        ConfigError: If no noise keeps to the budget, or it is too little to be split into layers.
        PlanError: If the numbers do not fit the ring.
    """
    found = mechanism_for(config.privacy).sum_format(
        config, roster=roster, cohort=cohort, dimension=dimension
    )
    return SumFormat(agreed_encoding(config, cohort, dimension)) if found is None else found


def session_params(
    consortium: Consortium, cohort: tuple[str, ...], dimension: int
) -> SessionParams:
    """Return the parameters of a session.

    Args:
        consortium: The parties and their agreement.
        cohort: The members of the session.
        dimension: d, coordinates of the shared model; loss and weight come behind them.

    Raises:
        PlanError: If the numbers do not fit the ring, or the cohort is too small.
    """
    config, agreed = consortium.config, consortium.digest()
    form = agreed_format(config, len(consortium.roster), len(cohort), dimension)
    encoding, layers, rotation = form.encoding, form.layers, form.rotation
    plan = SessionPlan.for_cohort(
        members=len(cohort),
        dimension=(dimension if rotation is None else rotation.padded) + 2,
        ring=encoding.ring,
        largest_input=max(encoding.largest_integer, encoding.max_weight),
        terms=labelled_digest(
            TERMS_LABEL,
            agreed,
            *(name.encode() for name in cohort),
            dimension.to_bytes(8, "big"),
            encoding.fraction_bits.to_bytes(4, "big", signed=True),
            *([] if layers is None else [layers.target.to_bytes(8, "big")]),
        ),
        rounds=config.secure.rounds_per_session,
        min_members=least_survivors(config.cohort, len(cohort)),
        layered=layers is not None,
    )
    context = SessionContext(agreed, consortium.run_id, plan.digest())
    return SessionParams(encoding, plan, context, dimension, layers, rotation)


def encode_update(
    encoding: FixedPoint, change: UpdateVector, loss: float, samples: int
) -> RingVector:
    """Return a member's input: `samples * (change, loss)` and `samples`, as integers [d + 2].

    The weight is under the masks too, so that no sample count of a single member is disclosed.

    Raises:
        RangeError: If a coordinate or the sample count is beyond what was agreed.
    """
    scaled = loss * (encoding.limit / LOSS_RANGE)
    extended = np.empty(change.size + 1, dtype=change.dtype)
    extended[:-1], extended[-1] = change, scaled
    return encoding.encode(extended, samples)


def decode_loss(encoding: FixedPoint, mean: float) -> float:
    """Return the mean training loss from its coordinate of the mean; see `encode_update`."""
    return mean * (LOSS_RANGE / encoding.limit)
