"""The member's end: a socket of this machine, at which the SuperNode's ClientApp hands on messages.

Who reaches the socket can ask in vain and delay: each question is opened with the member's key of
the run, and has to be sealed by the coordinator.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from securefl.errors import RunDirectoryError, SecureflError
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.flower.packing import (
    NAME_HEADER,
    NOTHING,
    packed,
    read_frame,
    unpacked,
    write_frame,
)
from securefl.federation.transport.link import LineState
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.part_errors import OtherRunError
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.session_keys import RunKeys

_log = logging.getLogger(__name__)
_MOST: Final = 8
"""Connections at a time; a SuperNode hands on one message at a time."""
_READ_SECONDS: Final = 120.0
_UNREAD: Final = 2
"""Questions that wait to be acted on. One is open at a time, and is asked again; but what carries
them can say one again and again while the member trains, and each may have a model."""


class SocketLink:
    """A member's `Link`: questions come over a socket, and each answer leaves over the same one.

    Attributes:
        arrivals: Questions that have arrived, opened.
        faults: What is wrong here.
        connected: Always; whether a SuperNode is there shows when it asks.
        stores: Always; a question that is lost comes again.
        heard: When a question came last, seconds since the epoch; None before.
    """

    def __init__(self, path: Path, faults: StandingFaults) -> None:
        """Bind the socket, readable and writable for its owner and its group.

        Raises:
            RunDirectoryError: If the path cannot be used.
        """
        self.arrivals: queue.Queue[Arrival | Exception] = queue.Queue()
        self.faults, self.connected = faults, True
        self.stores = True
        self.heard: float | None = None
        self._path, self._busy = path, 0
        self._strangers = Quota("coordinator", most=None)
        self._waiting: dict[str, queue.Queue[bytes]] = {}
        self._lock, self._places = threading.Lock(), threading.Semaphore(_MOST)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # What a killed process left: the folder's lock says that no other one is there.
            if path.is_socket():
                path.unlink()
            self._socket.bind(str(path))
            path.chmod(0o660)
            self._socket.listen(_MOST)
        except OSError as error:
            self._socket.close()
            # A path over 107 bytes has no text of the system.
            reason = error.strerror or str(error)
            raise RunDirectoryError(f"{path}: no socket can be made: {reason}") from None

    @property
    def line(self) -> LineState:
        """See `Link.line`."""
        return self

    def listen(self, sender: Reassembler, keys: RunKeys) -> None:
        """Begin to take questions.

        Args:
            sender: Opens the coordinator's messages.
            keys: Our key of the run, which an answer to a greeting announces.
        """
        threading.Thread(target=self._accept, args=(sender, keys), daemon=True).start()

    def _accept(self, sender: Reassembler, keys: RunKeys) -> None:
        while True:
            self._places.acquire()
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            threading.Thread(
                target=self._serve, args=(connection, sender, keys), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, sender: Reassembler, keys: RunKeys) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_READ_SECONDS)
                data = read_frame(connection)
                with self._answering():
                    write_frame(connection, self._answer(data, sender, keys))
        finally:
            self._places.release()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Count a message whose answer is not written yet."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _answer(self, data: bytes, sender: Reassembler, keys: RunKeys) -> bytes:
        """Return the answer to a greeting at once, and to a question once the member has given it.

        What is neither, or not the coordinator's, is answered with nothing; so is a question of
        another run.
        """
        try:
            parts = unpacked(data)
            if not parts[0][1]:
                self._greet(parts[0][0], sender)
                return packed([(keys.headers | {NAME_HEADER: keys.name}, b"")])
            with self._lock:
                note = [sender.add(headers, content) for headers, content in parts][-1]
        except SecureflError as error:
            _log.warning("a message that came over the socket is dropped: %s", error)
            return NOTHING
        return NOTHING if note is None else self._wait(note)

    def _greet(self, headers: Mapping[str, str], sender: Reassembler) -> None:
        """Check that a greeting is the coordinator's, of whatever run.

        Its key is taken only from what it sealed: a greeting can be said again by others.

        Raises:
            BadPartError: If it is not.
        """
        try:
            sender.announced(headers)
        except OtherRunError as error:
            # Answered all the same: the coordinator then names the two runs, as we do here.
            self._strangers.other_run(error)

    def _wait(self, note: Envelope) -> bytes:
        waiting: queue.Queue[bytes] = queue.Queue()
        with self._lock:
            if self.arrivals.qsize() >= _UNREAD:
                return NOTHING
            # The one before it is of no use any more: one question is open at a time.
            for earlier in self._waiting.values():
                earlier.put(NOTHING)
            self._waiting = {note.id: waiting}
            self.heard = time.time()
            self.arrivals.put(Arrival(note, _nothing))
        return waiting.get()

    def send(self, subject: str, note: Envelope, keys: RunKeys) -> None:
        """See `Link.send`; an answer that no question waits for is given when it comes again."""
        del subject
        self._give(note.answers, lambda: packed(note.parts(keys)))

    def settle(self, question: str) -> None:
        """End the wait of a question to which there is no answer, such as one of long ago."""
        self._give(question, lambda: NOTHING)

    def _give(self, question: str, answer: Callable[[], bytes]) -> None:
        with self._lock:
            waiting = self._waiting.pop(question, None)
        if waiting is not None:
            waiting.put(answer())

    def flush(self, seconds: float = 5.0) -> bool:
        """See `Link.flush`."""
        until = time.monotonic() + seconds
        while self._busy and time.monotonic() < until:
            time.sleep(0.01)
        return not self._busy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _nothing() -> None:
    return
