"""How the sealed parts of a message travel in one record of Flower, and over a local socket."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgpack

from securefl.federation.transport.nats.part_errors import BadPartError
from securefl.federation.transport.nats.subjects import CHUNK_BYTES, LARGEST_MESSAGE

RECORD: Final = "securefl"
"""Name of the one record of a message of Flower."""
FIELD: Final = "parts"
"""Its one entry: bytes, empty where the member's process did not answer."""
ACTION: Final = "securefl"
MESSAGE_TYPE: Final = f"query.{ACTION}"
"""Flower's type of all of our messages, questions and answers."""
NAME_HEADER: Final = "Securefl-Name"
"""In a greeting's answer: which member it is of."""
SOCKET: Final = "securefl-socket"
"""Key of a SuperNode's `--node-config`: the path of the member's socket."""
NOTHING: Final = b""
_LENGTH: Final = 8
_LARGEST: Final = LARGEST_MESSAGE + (64 << 20)
_MOST_HEADERS, _LONGEST_HEADER = 16, 1024
_MOST_PARTS: Final = LARGEST_MESSAGE // CHUNK_BYTES
_LARGEST_PART: Final = CHUNK_BYTES + (64 << 10)
_TEXT: Final = frozenset((*range(0xA0, 0xC0), 0xD9, 0xDA))
_BYTES: Final = frozenset((0xC4, 0xC5, 0xC6))
"""First bytes of strings and of binary data in msgpack."""


def packed(parts: Iterable[tuple[Mapping[str, str], bytes]]) -> bytes:
    """Return headers and contents of a message's parts as bytes."""
    return bytes(msgpack.packb([[dict(headers), content] for headers, content in parts]))


def unpacked(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and contents of parts; whose they are is not known yet.

    Raises:
        BadPartError: If the bytes are no parts.
    """
    try:
        return list(_parts(data))
    except (ValueError, TypeError, IndexError, msgpack.UnpackException):
        raise BadPartError("what arrived is no message in parts") from None


def _parts(data: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield the parts, one object at a time."""
    # Never all at once: a byte that is an empty list takes 64 bytes of memory, and whoever answers
    # in a member's place could send a gigabyte of them.
    reader = msgpack.Unpacker(
        io.BytesIO(data),
        max_buffer_size=_LARGEST_PART,
        max_str_len=_LONGEST_HEADER,
        max_bin_len=_LARGEST_PART,
    )
    for _ in range(_count(reader.read_array_header(), 1, _MOST_PARTS)):
        _count(reader.read_array_header(), 2, 2)
        headers = {
            str(_only(_TEXT, reader, data)): str(_only(_TEXT, reader, data))
            for _ in range(_count(reader.read_map_header(), 0, _MOST_HEADERS))
        }
        content = _only(_BYTES, reader, data)
        assert isinstance(content, bytes)
        yield headers, content
    if reader.tell() != len(data):
        raise TypeError("more than parts")


def _count(found: int, least: int, most: int) -> int:
    if not least <= found <= most:
        raise TypeError("count")
    return found


def _only(kinds: frozenset[int], reader: msgpack.Unpacker, data: bytes) -> bytes | str:
    """Return the next object, if its first byte is of these kinds."""
    if data[reader.tell()] not in kinds:
        raise TypeError("kind")
    found: bytes | str = reader.unpack()
    return found


def write_frame(connection: socket.socket, data: bytes) -> None:
    """Write bytes with their length before them."""
    connection.sendall(len(data).to_bytes(_LENGTH, "big"))
    if data:  # without any, the other side may have answered and gone
        connection.sendall(data)


def read_frame(connection: socket.socket) -> bytes:
    """Return the bytes that `write_frame` wrote.

    Raises:
        OSError: If the connection ends before, or announces more than any message has.
    """
    size = int.from_bytes(_exactly(connection, _LENGTH), "big")
    if size > _LARGEST:
        raise OSError("a message that is larger than any")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(min(size - len(found), 1 << 20))
        if not piece:
            raise OSError("the connection ended in the middle of a message")
        found += piece
    return bytes(found)
