"""Bytes to messages and back; whatever does not fit exactly is a `RemoteProtocolError`.

A member's message is `version | code | sender (4, big-endian) | signature (64) | body`, the
coordinator's is `version | code | body`. The body is a msgpack map with exactly the fields
of the message, in their order, of integers and byte strings in their shortest form: there is
one way only to write it. A table is the byte string of its rows, each behind its member's
index in four big-endian bytes.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import msgpack

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import index_bytes
from securefl_protocols.primitives.signing import SIGNATURE_BYTES
from securefl_protocols.wire.fields import Field, Rows, Table, Unsigned
from securefl_protocols.wire.kinds import COORDINATOR_MESSAGES, MEMBER_MESSAGES
from securefl_protocols.wire.messages import CoordinatorMessage, MemberMessage, Message

VERSION = 2
COORDINATOR_HEADER_BYTES = 2
MEMBER_HEADER_BYTES = COORDINATOR_HEADER_BYTES + 4 + SIGNATURE_BYTES

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A member's message with what stands around it.

    Attributes:
        kind: The class of the message; the body is not decoded yet.
        sender: Index that the message claims to come from.
        signature: 64 bytes, not checked yet.
        body: The bytes that are signed and, once that is checked, decoded.
    """

    kind: type[MemberMessage]
    sender: int
    signature: bytes
    body: memoryview


def encode_parts(message: Message) -> list[bytes | memoryview]:
    """Return the msgpack map of a message in parts, without a copy of its large fields."""
    parts: list[bytes | memoryview] = [bytes([0x80 | len(message.FIELDS)])]
    for name in message.FIELDS:
        value = getattr(message, name)
        parts.append(msgpack.packb(name))
        if isinstance(value, int):
            parts.append(msgpack.packb(value))
            continue
        octets = value if isinstance(value, bytes | memoryview) else _joined(value)
        parts += [_bin_header(len(octets)), octets]
    return parts


def encode_body(message: Message) -> bytes:
    """Return the msgpack map of a message."""
    return b"".join(encode_parts(message))


def encode_member(
    kind: type[MemberMessage], sender: int, signature: bytes, parts: list[bytes | memoryview]
) -> bytes:
    """Return the bytes that a member sends."""
    return b"".join((bytes((VERSION, kind.CODE)), index_bytes(sender), signature, *parts))


def encode_coordinator(message: CoordinatorMessage) -> bytes:
    """Return the bytes that the coordinator sends."""
    return bytes((VERSION, message.CODE)) + encode_body(message)


def open_envelope(data: bytes, *, largest: int) -> Envelope:
    """Split a member's message without looking into its body.

    Args:
        data: What arrived.
        largest: Most bytes that any message of the session can have.

    Raises:
        RemoteProtocolError: It is too long, too short, or of no known version or kind.
    """
    code = _code(data, largest)
    if code not in MEMBER_MESSAGES or len(data) < MEMBER_HEADER_BYTES:
        raise RemoteProtocolError("this is no message of a member")
    sender = int.from_bytes(data[2:6], "big")
    body = memoryview(data)[MEMBER_HEADER_BYTES:]
    return Envelope(MEMBER_MESSAGES[code], sender, signature_of(data), body)


def signature_of(data: bytes) -> bytes:
    """Return the 64 signature bytes of a member's message."""
    return data[MEMBER_HEADER_BYTES - SIGNATURE_BYTES : MEMBER_HEADER_BYTES]


def decode_coordinator(data: bytes, *, largest: int) -> CoordinatorMessage:
    """Decode a message of the coordinator.

    Args:
        data: What arrived.
        largest: Most bytes that any message of the session can have.

    Raises:
        RemoteProtocolError: It is not exactly one message of the coordinator.
    """
    code = _code(data, largest)
    if code not in COORDINATOR_MESSAGES:
        raise RemoteProtocolError("this is no message of the coordinator")
    return decode_body(COORDINATOR_MESSAGES[code], memoryview(data)[COORDINATOR_HEADER_BYTES:])


def decode_body(kind: type[M], body: bytes | memoryview) -> M:
    """Decode the body of a message of a known kind.

    Raises:
        RemoteProtocolError: It is not exactly one map with the fields of the kind.
    """
    pairs = _unpack(body)
    if [name for name, _ in pairs] != list(kind.FIELDS):
        raise RemoteProtocolError(f"{kind.NAME} has exactly the fields {list(kind.FIELDS)}")
    # The shortest headers are the only ones allowed, so the length says whether they are used.
    if len(body) != 1 + sum(_packed_length(name) + _packed_length(value) for name, value in pairs):
        raise RemoteProtocolError("the body of the message is not in its shortest form")
    values: dict[str, Any] = {n: _read(kind.FIELDS[n], n, value) for n, value in pairs}
    return kind(**values)


def _code(data: bytes, largest: int) -> int:
    if len(data) > largest:
        raise RemoteProtocolError(f"a message of this session has at most {largest} bytes")
    if len(data) < COORDINATOR_HEADER_BYTES or data[0] != VERSION:
        raise RemoteProtocolError("the message is not of this version of the protocol")
    return data[1]


def _unpack(body: bytes | memoryview) -> list[tuple[Any, Any]]:
    try:
        # Pairs instead of a dict, so that a field that stands there twice is seen.
        pairs = msgpack.unpackb(body, object_pairs_hook=list, max_array_len=0, max_ext_len=0)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise RemoteProtocolError("the body of the message is no msgpack map") from error
    if not isinstance(pairs, list):
        raise RemoteProtocolError("the body of the message is no msgpack map")
    return pairs


def _packed_length(value: object) -> int:
    if isinstance(value, bytes):
        return len(value) + (2 if len(value) < 1 << 8 else 3 if len(value) < 1 << 16 else 5)
    if isinstance(value, str):
        return len(value) + 1
    number = value if isinstance(value, int) else 0
    limits = ((1 << 7, 1), (1 << 8, 2), (1 << 16, 3), (1 << 32, 5))
    return next((size for limit, size in limits if number < limit), 9)


def _read(field: Field, name: str, value: object) -> int | bytes | Rows:
    if isinstance(field, Unsigned):
        if type(value) is not int or not 0 <= value <= field.largest:
            raise RemoteProtocolError(f"{name} is no integer of 32 bits")
        return value
    if not isinstance(value, bytes):
        raise RemoteProtocolError(f"{name} is no byte string")
    if isinstance(field, Table):
        return _rows(field, name, value)
    largest = len(value) if field.largest is None else field.largest
    if field.absent and not value:
        return value
    if not field.smallest <= len(value) <= largest:
        raise RemoteProtocolError(f"{name} has another length")
    return value


def _rows(field: Table, name: str, value: bytes) -> Rows:
    size = 4 + field.row
    if len(value) % size:
        raise RemoteProtocolError(f"{name} has rows of {size} bytes")
    starts = range(0, len(value), size)
    indices = [int.from_bytes(value[start : start + 4], "big") for start in starts]
    if any(low >= high for low, high in pairwise(indices)):
        raise RemoteProtocolError(f"the members in {name} are not in increasing order")
    rows = (value[start + 4 : start + size] for start in starts)
    return dict(zip(indices, rows, strict=True))


def _joined(rows: Rows) -> bytes:
    return b"".join(index_bytes(index) + rows[index] for index in sorted(rows))


def _bin_header(length: int) -> bytes:
    if length < 1 << 8:
        return b"\xc4" + length.to_bytes(1, "big")
    if length < 1 << 16:
        return b"\xc5" + length.to_bytes(2, "big")
    return b"\xc6" + length.to_bytes(4, "big")
