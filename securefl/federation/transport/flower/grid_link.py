"""The coordinator's end: questions and answers as messages on a grid of Flower.

Flower starts a process on the node for each message, and a node looks for messages every three
seconds, so nothing here is in a hurry. A question that came to nothing, because a node or the
member behind it was away, is asked again until it is withdrawn: members answer each once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Self, cast

from securefl.federation.transport.base import EngineError
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.flower.packing import (
    FIELD,
    MESSAGE_TYPE,
    NAME_HEADER,
    NOTHING,
    RECORD,
    packed,
    unpacked,
)
from securefl.federation.transport.journalled import JournalledTransport
from securefl.federation.transport.link import LineState
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.part_errors import BadPartError, OtherRunError
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import token
from securefl.federation.transport.session_keys import RunKeys
from securefl.untrusted.text import one_line

if TYPE_CHECKING:
    from flwr.app import Message
    from flwr.serverapp import Grid

_log = logging.getLogger(__name__)
_SOON, _LATER, _REST = 0.01, 0.25, 2.0
"""Seconds between two looks for answers: within a second of a question, after it, and after an
error. A SuperLink is asked over HTTP, and a node of Flower takes seconds."""
_LOOK_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 600.0
"""Without an answer of the SuperLink, after which the run ends; the same command goes on."""
_AGAIN_SECONDS: Final = 5.0
"""Before a node is greeted, or a question asked, once more."""


@dataclass(frozen=True)
class Listener:
    """What hears the members.

    Attributes:
        readers: Member to what opens its answers.
        quotas: Member to what it may send that is of no use.
        heard: Is told that a member's node is there, by the token of the member.
    """

    readers: Mapping[str, Reassembler]
    quotas: Mapping[str, Quota]
    heard: Callable[[str, bytes], None]


@dataclass(frozen=True)
class _Sent:
    """A message of Flower without an answer; a greeting has no party."""

    node: int
    party: str
    data: bytes


class GridLink:
    """The coordinator's `Link`; a thread of its own is the only one that uses the grid.

    Attributes:
        arrivals: Answers that have arrived, opened.
        faults: Is told where the SuperLink does not answer.
        connected: Whether the SuperLink answered last time.
        stores: Always; what the SuperLink lost is said again.
        heard: When it answered last, seconds since the epoch; None before.
    """

    def __init__(self, grid: Grid, faults: StandingFaults) -> None:
        self.arrivals: queue.Queue[Arrival | Exception] = queue.Queue()
        self.faults, self.connected = faults, True
        self.stores = True
        self.heard: float | None = None
        self._grid = grid
        self._outgoing: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._pending: dict[str, tuple[float, bytes]] = {}
        self._sent: dict[str, _Sent] = {}
        self._nodes: dict[str, int] = {}
        self._greeted: dict[int, float] = {}
        self._looked = 0.0
        self._withdrawn: queue.Queue[str] = queue.Queue()
        self._closing, self._wake, self._pushed = threading.Event(), threading.Event(), 0.0
        self._thread = threading.Thread(target=self._work, daemon=True)

    @property
    def line(self) -> LineState:
        """See `Link.line`."""
        return self

    def listen(self, keys: RunKeys, listener: Listener) -> None:
        """Begin to find the members' nodes, and to carry messages."""
        self._listener = listener
        self._greeting = packed([(keys.headers, b"")])
        self._thread.start()

    def send(self, subject: str, note: Envelope, keys: RunKeys) -> None:
        """See `Link.send`."""
        del subject
        self._outgoing.put((note.receiver, packed(note.parts(keys))))
        self._wake.set()

    def withdraw(self, party: str) -> None:
        """Ask a member's question no more."""
        self._withdrawn.put(party)

    def flush(self, seconds: float = 5.0) -> bool:
        """See `Link.flush`."""
        until = time.monotonic() + seconds
        while not self._outgoing.empty() and time.monotonic() < until:
            time.sleep(0.01)
        return self._outgoing.empty()

    def _work(self) -> None:
        answered = time.monotonic()
        while not self._closing.is_set():
            try:
                self._turn()
            except Exception as error:  # a grid raises what its libraries do, and can come back
                reason = f"the SuperLink does not answer: {type(error).__name__}: {error}"
                _log.warning("%s", one_line(reason))
                self.connected = False
                self.faults.begin("connection", "grid-lost")
                if time.monotonic() - answered > _PATIENCE_SECONDS:
                    self.arrivals.put(EngineError(one_line(reason)))
                    return
                self._closing.wait(_REST)
                continue
            answered = time.monotonic()
            self.connected, self.heard = True, time.time()
            self.faults.end("connection")
            self._wake.wait(_SOON if answered - self._pushed < 1.0 else _LATER)
            self._wake.clear()

    def _turn(self) -> None:
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._look(now)
        while not self._outgoing.empty():
            party, data = self._outgoing.get()
            self._pending[party] = now, data
        while not self._withdrawn.empty():
            party = self._withdrawn.get()
            self._pending.pop(party, None)
            self._forget(party)
        due = [
            _Sent(self._nodes[party], party, data)
            for party, (at, data) in self._pending.items()
            if at <= now and party in self._nodes
        ]
        self._push(due)
        for sent in due:
            del self._pending[sent.party]
        self._pull()

    def _forget(self, party: str) -> None:
        """Wait no more for answers of a member's node.

        Flower does so after hours alone: a node that takes questions and answers none would have
        each of them kept here meanwhile, with its model.
        """
        self._sent = {name: sent for name, sent in self._sent.items() if sent.party != party}

    def _look(self, now: float) -> None:
        """Note which members' nodes are there, and greet those whose member is not known."""
        online = set(self._grid.get_node_ids())
        self._looked = now
        for party, node in self._nodes.items():
            if node in online:
                self._listener.heard(token(party), b"")
        known = set(self._nodes.values())
        strange = [
            node
            for node in online - known
            if now - self._greeted.get(node, -_AGAIN_SECONDS) >= _AGAIN_SECONDS
        ]
        # One greeting of a node, and none of one that left: it may answer none, or come under
        # another number each time.
        self._greeted = {node: at for node, at in self._greeted.items() if node in online}
        self._greeted |= dict.fromkeys(strange, now)
        self._sent = {
            name: sent
            for name, sent in self._sent.items()
            if sent.party or (sent.node in online and sent.node not in strange)
        }
        self._push([_Sent(node, "", self._greeting) for node in strange])

    def _push(self, batch: list[_Sent]) -> None:
        if not batch:
            return
        self._pushed = time.monotonic()
        for sent in batch:
            if sent.party:
                self._forget(sent.party)  # the one before it, which is asked again or given up
        ids = self._grid.push_messages([_message(sent) for sent in batch])
        self._sent |= {name: sent for name, sent in zip(ids, batch, strict=True) if name}

    def _pull(self) -> None:
        if not self._sent:
            return
        for reply in self._grid.pull_messages(list(self._sent)):
            sent = self._sent.pop(reply.metadata.reply_to_message_id, None)
            if sent is None:
                continue
            data = _answer_in(reply)
            if data == NOTHING:
                self._failed(sent)
            elif sent.party:
                self._take(sent.party, data)
            else:
                self._meet(sent.node, data)

    def _failed(self, sent: _Sent) -> None:
        """Find the member anew, and ask it again unless it was asked something else meanwhile."""
        if not sent.party:
            return
        if self._nodes.get(sent.party) == sent.node:
            del self._nodes[sent.party]
        self._pending.setdefault(sent.party, (time.monotonic() + _AGAIN_SECONDS, sent.data))

    def _meet(self, node: int, data: bytes) -> None:
        """Take a node for a member's: it answered with the key that the member signed."""
        try:
            headers, _ = unpacked(data)[0]
            name = headers.get(NAME_HEADER, "")
            if name not in self._listener.readers:
                raise BadPartError("a node that is of no member")
            reader = self._listener.readers[name]
            reader.meet(reader.announced(headers))
        except OtherRunError as error:
            _log.warning("%s", error)
            return
        except BadPartError as error:
            _log.warning("node %d: %s", node, error)
            return
        self._nodes[name] = node
        self._listener.heard(token(name), b"")

    def _take(self, party: str, data: bytes) -> None:
        reader, quota = self._listener.readers[party], self._listener.quotas[party]
        try:
            note = [reader.add(headers, content) for headers, content in unpacked(data)][-1]
        except OtherRunError as error:
            quota.other_run(error)
            return
        except BadPartError as error:
            quota.strike(str(error), len(data))
            return
        if note is not None:
            self.arrivals.put(Arrival(note, partial(_log.debug, "answered")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)


class GridTransport(JournalledTransport):
    """What a grid of Flower carries; a node that is online is a sign of life of its member."""

    def _listen(self) -> None:
        readers = {name: self._reader(name) for name in self._run.members}
        listener = Listener(readers, self._quotas, self.watch.heard)
        cast("GridLink", self._link).listen(self._keys, listener)

    def _withdraw(self, party: str) -> None:
        cast("GridLink", self._link).withdraw(party)


def _message(sent: _Sent) -> Message:
    from flwr.app import ConfigRecord, Message, RecordDict

    content = RecordDict({RECORD: ConfigRecord({FIELD: sent.data})})
    return Message(content, sent.node, MESSAGE_TYPE)


def _answer_in(reply: Message) -> bytes:
    """Return what a node answered; nothing where Flower failed, or it is no answer of ours."""
    if reply.has_error():
        _log.warning("a node did not answer: %s", reply.error.reason)
        return NOTHING
    if not reply.has_content():
        return NOTHING  # asking for it would raise, and lose the other nodes' answers
    record = reply.content.config_records.get(RECORD, {})
    data = record.get(FIELD, NOTHING)
    return data if isinstance(data, bytes) else NOTHING
