"""How the sealed parts of a message travel in one record of Flower, and over a local socket."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Final

import msgpack

from securefl.federation.transport.nats.part_errors import BadPartError
from securefl.federation.transport.nats.subjects import LARGEST_MESSAGE

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
_MOST_HEADERS: Final = 16


def packed(parts: Iterable[tuple[Mapping[str, str], bytes]]) -> bytes:
    """Return headers and contents of a message's parts as bytes."""
    return bytes(msgpack.packb([[dict(headers), content] for headers, content in parts]))


def unpacked(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and contents of parts; whose they are is not known yet.

    Raises:
        BadPartError: If the bytes are no parts.
    """
    try:
        parts = msgpack.unpackb(data)
        found = [(_headers(headers), content) for headers, content in parts]
    except (ValueError, TypeError, msgpack.UnpackException):
        raise BadPartError("what arrived is no message in parts") from None
    if not found or not all(isinstance(content, bytes) for _, content in found):
        raise BadPartError("what arrived is no message in parts")
    return found


def _headers(found: object) -> dict[str, str]:
    if not isinstance(found, dict) or len(found) > _MOST_HEADERS:
        raise TypeError("headers")
    if not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise TypeError("headers")
    return found


def write_frame(connection: socket.socket, data: bytes) -> None:
    """Write bytes with their length before them."""
    connection.sendall(len(data).to_bytes(_LENGTH, "big"))
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
