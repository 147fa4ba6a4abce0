"""The two ends of the carrier over Flower, without Flower."""

import os
import socket
import threading
from contextlib import closing

from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.flower.packing import packed, read_frame, write_frame
from securefl.federation.transport.flower.socket_link import SocketLink
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.signing import SigningKey

RUN = bytes(32)


class Scene:
    """A member with its socket, a coordinator, and a stranger who knows what all can know."""

    def __init__(self, folder, stack):
        self.identity = {name: SigningKey.generate(os.urandom) for name in ("hub", "north", "else")}
        self.hub, self.north, self.stranger = (
            stack.enter_context(closing(RunKeys(folder / place, self.identity[place], RUN, name)))
            for place, name in (("hub", "coordinator"), ("north", "north"), ("else", "coordinator"))
        )
        self.path = folder / "north.sock"
        self.link = stack.enter_context(SocketLink(self.path, StandingFaults()))
        sender = Reassembler(
            self.north, "coordinator", self.identity["hub"].public, lambda _: 1 << 24
        )
        self.link.listen(sender, self.north)

    def said(self, data):
        """What the member's process answers to bytes at its socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(str(self.path))
            write_frame(connection, data)
            return read_frame(connection)

    def question(self, keys, name="q", body=b"what"):
        keys.meet("north", self.north.own.public)
        return packed(Envelope("coordinator", "north", name, "", body).parts(keys))

    def answering(self):
        """The member answers one question."""

        def answer():
            note = self.link.arrivals.get(timeout=10).note
            reply = Envelope("north", "coordinator", f"a.{note.id}", note.id, note.body[::-1])
            self.link.send("", reply, self.north)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        return thread


class SilentGrid:
    """A SuperLink whose nodes take every message and answer none."""

    def __init__(self, nodes):
        self.nodes, self.pushed, self.takes = nodes, 0, True

    def get_node_ids(self):
        return self.nodes

    def push_messages(self, messages):
        if not self.takes:
            return [None] * len(messages)
        found = [f"{self.pushed + place}" for place in range(len(messages))]
        self.pushed += len(messages)
        return found

    def pull_messages(self, names):
        del names
        return []
