"""The ClientApp: it hands a message to the member's own process on this machine, and answers.

Flower starts a process for each message, with the SuperNode's rights. So this one has no key, reads
no table and imports nothing that trains: what it carries is sealed for the member. A coordinator
that brings other code in its place gets no more than a broker has.
"""

from __future__ import annotations

import logging
import socket

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from securefl.federation.transport.flower.packing import (
    ACTION,
    FIELD,
    NOTHING,
    RECORD,
    SOCKET,
    read_frame,
    write_frame,
)

_log = logging.getLogger(__name__)


def relayed(path: str, data: bytes) -> bytes:
    """Return the answer of the process that listens at a socket; empty where none does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            write_frame(connection, data)
            return read_frame(connection)
    except OSError as error:
        _log.warning("no answer from the member at %s: %s", path, error)
        return NOTHING


def answer(message: Message, context: Context) -> Message:
    """Answer one message of Flower.

    Raises:
        ValueError: If this SuperNode was not told where its member listens.
    """
    path = context.node_config.get(SOCKET)
    if path is None:
        hint = f"start it with --node-config '{SOCKET}=\"PATH\"'"
        raise ValueError(f"this SuperNode names no socket of a member: {hint}")
    data = message.content.config_records[RECORD][FIELD]
    reply = relayed(str(path), data)
    return Message(RecordDict({RECORD: ConfigRecord({FIELD: reply})}), reply_to=message)


app = ClientApp()
app.query(ACTION)(answer)
