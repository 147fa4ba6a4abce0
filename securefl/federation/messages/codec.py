"""Messages, vectors and metric sums to bytes and back, as strict msgpack.

A message is a map that begins with its `kind`; an unknown kind, a missing, unknown, mistyped or
repeated field is refused. So its first bytes name the message that the rest of it is.
Vectors travel as little-endian float32 bytes. No message carries code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgpack
import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from securefl.federation.messages.base import Message, MessageError
from securefl.federation.messages.ledger import (
    Conclude,
    Countersigned,
    Entries,
    Finish,
    Refused,
    ShowHead,
    StartRun,
)
from securefl.federation.messages.observation import (
    DebugDisclose,
    ObserveBaseline,
    ObserveLocalOnly,
    ObserveModel,
    ObserveRounding,
    Rounding,
)
from securefl.federation.messages.training import (
    Absent,
    Ballot,
    BaselineRequest,
    BudgetRequest,
    BudgetResponse,
    CacheMiss,
    Deliver,
    Done,
    Evaluate,
    Failure,
    Keep,
    LocalOnlyRequest,
    LocalOnlyResult,
    Protocol,
    QueryRequest,
    Restore,
    Save,
    ScoreProtocol,
    ScoreRequest,
    Scores,
    Shutdown,
    SumVerified,
    TallyFields,
    Train,
    TrainMasked,
    Update,
    VoteRequest,
)
from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.ml.vectors import FloatVector

AnyMessage = (
    Train
    | Update
    | TrainMasked
    | QueryRequest
    | Protocol
    | ScoreRequest
    | ScoreProtocol
    | SumVerified
    | VoteRequest
    | Ballot
    | DebugDisclose
    | ObserveModel
    | ObserveBaseline
    | ObserveLocalOnly
    | ObserveRounding
    | Rounding
    | Evaluate
    | BaselineRequest
    | Scores
    | Keep
    | LocalOnlyRequest
    | LocalOnlyResult
    | Deliver
    | Save
    | Restore
    | BudgetRequest
    | BudgetResponse
    | StartRun
    | Conclude
    | Finish
    | Entries
    | ShowHead
    | Countersigned
    | Refused
    | Shutdown
    | CacheMiss
    | Done
    | Absent
    | Failure
)
_ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(Annotated[AnyMessage, Field(discriminator="kind")])


def encode(message: Message) -> bytes:
    """Return a message as msgpack bytes."""
    packed: bytes = msgpack.packb(message.model_dump())
    return packed


def decode(data: bytes) -> AnyMessage:
    """Return the message in `data`.

    Raises:
        MessageError: If the bytes are not exactly one well-formed message.
    """
    try:
        return _ADAPTER.validate_python(unpacked(data))
    except ValidationError as error:
        raise MessageError(f"malformed message ({type(error).__name__})") from None


def unpacked(data: bytes) -> dict[str, Any]:
    """Return the fields of a message, not validated; `kind` is the first.

    Raises:
        MessageError: If the bytes are not exactly one map that begins with a kind and has no field
            twice. Two readers could take such bytes for two messages.
    """
    try:
        fields: Any = msgpack.unpackb(data, use_list=False, object_pairs_hook=_fields)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise MessageError(f"malformed message ({type(error).__name__})") from None
    if not isinstance(fields, dict) or next(iter(fields), None) != "kind":
        raise MessageError("malformed message (it does not begin with its kind)")
    return fields


def _fields(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field that is there twice")
    return fields


def pack_vector(vector: FloatVector) -> bytes:
    """Return a float32 vector [d] as little-endian bytes [4 d]."""
    return vector.astype("<f4", copy=False).tobytes()


def unpack_vector(data: bytes) -> FloatVector:
    """Return the vector in bytes of `pack_vector`, as a writable array [d].

    Raises:
        MessageError: If the length is no multiple of four, or a coordinate is not finite.
    """
    if len(data) % 4:
        raise MessageError("malformed vector (its length is no multiple of four)")
    vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
    # One infinity or NaN would spoil the sum of all members, and a model for good.
    if not np.isfinite(vector).all():
        raise MessageError("malformed vector (a coordinate is not finite)")
    return vector


def pack_tallies(tallies: Mapping[str, MetricSums]) -> dict[str, TallyFields]:
    """Return metric sums by retailer as plain fields."""
    return {
        retailer: {
            name: (float(ratio.numerator), float(ratio.denominator), ratio.root)
            for name, ratio in tally.ratios.items()
        }
        for retailer, tally in tallies.items()
    }


def unpack_tallies(fields: Mapping[str, TallyFields]) -> dict[str, MetricSums]:
    """Return the metric sums in fields of `pack_tallies`."""
    return {
        retailer: MetricSums({name: Ratio(*ratio) for name, ratio in tally.items()})
        for retailer, tally in fields.items()
    }
