"""A place on this machine where programs and browsers of the same machine are answered."""

from __future__ import annotations

from socket import AF_INET, IPPROTO_TCP, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket
from typing import Final

from securefl.errors import InputError

LOOPBACK: Final = "127.0.0.1"


def listening(host: str, port: int) -> socket:
    """Return a socket that listens; questions wait in it until they are answered.

    Raises:
        InputError: If the port is in use, or not allowed.
    """
    # By this protocol asyncio knows TCP, and sends an answer's end without waiting for its start.
    link = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)
    try:
        link.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        link.bind((host, port))
        link.listen()
    except OSError as error:
        link.close()
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return link
