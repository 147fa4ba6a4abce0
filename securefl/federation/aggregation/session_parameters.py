"""The parameters of a session, which members and coordinator compute each for itself.

Nothing here is taken from a message: a parameter that the coordinator could choose would be a way
to attack. What is agreed enters the session's context, so that parties that differ in it cannot
complete a round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from securefl.config.cohort import cohort_size, least_survivors
from securefl.config.schema import RunConfig
from securefl.errors import needs_extra
from securefl.ml.vectors import UpdateVector
from securefl.privacy.encoding.lanes import LOSS_RANGE, LOSS_STEP, update_encoding
from securefl.privacy.mechanisms import SumFormat, mechanism_for
from securefl_protocols.encoding.fixed_point import FixedPoint, WeightedMean
from securefl_protocols.encoding.rotation import Rotation
from securefl_protocols.primitives.errors import RangeError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.proofs.norm_terms import NormTerms
from securefl_protocols.proofs.ristretto import library
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.context import SessionContext, labelled_digest

if TYPE_CHECKING:
    from securefl.privacy.noise.xnoise import LayerPlan
from securefl.consortium.agreement.context import Consortium
from securefl.federation.transport.answer_sizes import AnswerSizes

TERMS_LABEL = b"securefl/2/terms"
ROUNDING_LABEL = b"securefl/1/rounding"


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
        norm: The largest norm of a member's change, where each proves its own; None elsewhere.
    """

    encoding: FixedPoint
    plan: SessionPlan
    context: SessionContext = field(repr=False)
    dimension: int
    layers: LayerPlan | None = None
    rotation: Rotation | None = None
    norm: float | None = None

    def encode(
        self, change: UpdateVector, loss: float, samples: int, key: bytes | None
    ) -> RingVector:
        """Return a member's input: as `encode_update`, of a change that is not longer than agreed.

        Raises:
            RangeError: If a coordinate, the loss or the sample count is beyond what was agreed.
        """
        if self.norm is not None:
            change = within_norm(change, self.norm)
        return encode_update(self.encoding, change, loss, samples, key)

    def decode(self, total: RingVector, opened: Mapping[int, Sequence[bytes]]) -> WeightedMean:
        """Return the weighted mean of a sum, with excess noise removed.

        Args:
            total: The sum as it was unmasked; the digits of loss and weight come last.
            opened: By survivor, the keys of its noise layers that are removed.

        Returns:
            The mean change [d], the weight, and the sum of the losses as the one exact number.

        Raises:
            RangeError: If the sum is outside what so many members can add up to.
        """
        if self.layers is not None and opened:
            from securefl.privacy.noise.xnoise import layered_sampler

            taken = layered_sampler(self.layers).excess(
                opened.values(), total.size - self.encoding.tail
            )
            total = total.copy()
            signed = total.view(self.encoding.ring.signed_dtype)
            signed[: taken.size] -= taken.astype(signed.dtype)
        decoded = self.encoding.decode(total)
        if self.rotation is None:
            return decoded
        return replace(decoded, mean=self.rotation.inverse(decoded.mean))


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
    mechanism = mechanism_for(config.privacy)
    found = mechanism.sum_format(config, roster=roster, cohort=cohort, dimension=dimension)
    return SumFormat(update_encoding(config, cohort)) if found is None else found


def session_params(
    consortium: Consortium, cohort: tuple[str, ...], dimension: int
) -> SessionParams:
    """Return the parameters of a session.

    Args:
        consortium: The parties and their agreement.
        cohort: The members of the session.
        dimension: d, coordinates of the shared model; loss and weight come behind them, in digits.

    Raises:
        PlanError: If the numbers do not fit the ring, or the cohort is too small.
    """
    config, agreed = consortium.config, consortium.digest()
    form = agreed_format(config, len(consortium.roster), len(cohort), dimension)
    encoding, layers, rotation = form.encoding, form.layers, form.rotation
    plan = SessionPlan.for_cohort(
        members=len(cohort),
        dimension=(dimension if rotation is None else rotation.padded) + encoding.tail,
        ring=encoding.ring,
        largest_input=encoding.largest_input,
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
        norm=norm_terms(config.secure.norm, encoding, dimension),
    )
    context = SessionContext(agreed, consortium.run_id, plan.digest())
    return SessionParams(encoding, plan, context, dimension, layers, rotation, config.secure.norm)


def norm_terms(norm: float | None, encoding: FixedPoint, dimension: int) -> NormTerms | None:
    """Return what each member proves of the norm of its change; None where nothing was agreed.

    Raises:
        MissingExtraError: If what proves norms is not installed.
        PlanError: If the norm does not fit the encoding.
    """
    if norm is None:
        return None
    check_provable(norm)
    digits = encoding.weight_digits
    return NormTerms.of(
        norm,
        coordinates=dimension,
        scale=math.ldexp(1.0, encoding.fraction_bits),
        error=encoding.rounding,
        weight=(digits.count, digits.bits, digits.largest),
    )


def check_provable(norm: float | None) -> None:
    """Check that what an agreed norm needs is installed.

    Raises:
        MissingExtraError: If it is not.
    """
    if norm is None:
        return
    try:
        library()
    except ImportError:
        raise needs_extra("rbcl", "secure.norm, with which members prove norms,") from None


def within_norm(change: UpdateVector, norm: float) -> UpdateVector:
    """Return a change, scaled down to a norm where it is longer; float64 then."""
    wide = change.astype(np.float64)
    length = float(np.linalg.norm(wide))
    return wide * (norm / length) if length > norm else change


def answer_sizes(consortium: Consortium, dimension: int) -> AnswerSizes:
    """Return how large the members' answers may be in a run.

    Args:
        consortium: The parties and their agreement.
        dimension: d, coordinates of the shared model.

    Raises:
        PlanError: If the numbers do not fit the ring, or a cohort is too small.
    """
    config, names, masked, proof = consortium.config, consortium.roster.names, dimension, 0
    if config.mode == "secure":
        cohort = names[: cohort_size(config.cohort, len(names))]
        plan = session_params(consortium, cohort, dimension).plan
        masked, proof = plan.dimension, 0 if plan.norm is None else plan.norm.proof_bytes
    return AnswerSizes(dimension, masked, len(names), config.rounds, proof)


def encode_update(
    encoding: FixedPoint,
    change: UpdateVector,
    loss: float,
    samples: int,
    key: bytes | None = None,
) -> RingVector:
    """Return a member's input: `samples * (change, loss)` and `samples`, as integers [d + tail].

    The weight is under the masks too, so that no sample count of a single member is disclosed.

    Args:
        encoding: The encoding of the session.
        change: Change of the shared parameters, [d].
        loss: Mean training loss.
        samples: Sample count, the weight.
        key: 32 bytes, from `rounding_key`, where members round at random.

    Raises:
        RangeError: If a coordinate, the loss or the sample count is beyond what was agreed.
    """
    if not abs(loss) <= LOSS_RANGE:
        raise RangeError(f"the training loss is not within ±{LOSS_RANGE}")
    return encoding.encode(change, samples, (round(loss * samples * LOSS_STEP),), key=key)


def rounding_key(identity: bytes, run_id: bytes, number: int, model: bytes) -> bytes:
    """Return the key of a member's rounding at random in a round, 32 bytes.

    It follows from the member's secret identity key, so that no other party can compute or choose
    it, and a round that is tried again sends the same integers.

    Args:
        identity: The member's private identity key, 32 bytes.
        run_id: Of the run, 32 bytes.
        number: Number of the round.
        model: Digest of the model that the round starts from, 32 bytes.
    """
    context = run_id + number.to_bytes(4, "big") + model
    return derive_key(identity, label=ROUNDING_LABEL, context=context)


def decode_loss(decoded: WeightedMean) -> float:
    """Return the mean training loss of a decoded sum; see `encode_update`."""
    return decoded.exact[0] / LOSS_STEP / decoded.total_weight
