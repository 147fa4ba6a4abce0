"""The local engine: every member on this machine, in this process or in worker processes.

Each member's state is in an object of its own; members interact only through messages. A worker
process runs one torch thread: on shared cores, several threads compete by spinning.
"""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Self

import msgpack
import torch

from securefl.federation.transport.base import (
    DeadlineExceeded,
    Delivery,
    EngineError,
    HostedParties,
    OpenTransport,
    Party,
    PartySpec,
)

_CRASH = ""
"""In the place of a party's name: the message is a traceback, and the worker has ended."""


class WorkerCrashedError(RuntimeError):
    """A bug in a worker process; the text is its traceback."""


def open_local(parties: HostedParties) -> OpenTransport:
    """Open the local engine.

    The centralized baseline has a process of its own. It has as much work as all members together
    and no need to wait for rounds, so it fills the cores while members wait for each other.
    """
    if parties.workers == 1:
        return InProcess([*parties.members, *parties.pooled])
    pooled = [parties.pooled] if parties.pooled else []
    return WorkerProcesses([*balanced(parties.members, parties.workers), *pooled])


class InProcess:
    """Parties in this process; a message is handled when its answer is waited for."""

    def __init__(self, specs: Sequence[PartySpec]) -> None:
        self._parties: Mapping[str, Party] = {spec.name: spec.build() for spec in specs}
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._outbox: deque[Delivery] = deque()

    def publish(self, party: str, message: bytes) -> None:
        """See `Transport.publish`."""
        self._inbox.append((party, message))

    def receive(self, timeout: float | None = None) -> Delivery:
        """See `Transport.receive`; the work happens here, so the timeout does not apply."""
        while not self._outbox:
            if not self._inbox:
                raise DeadlineExceeded("no answer is pending")
            name, message = self._inbox.popleft()
            self._outbox.extend(Delivery(name, m) for m in self._parties[name].handle(message))
        return self._outbox.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        self._inbox.clear()
        for party in self._parties.values():
            party.close()


_ENDS = ("SIGINT", "SIGTERM", "SIGHUP")


class WorkerProcesses:
    """Parties spread over worker processes, which are spawned and never forked."""

    def __init__(self, groups: Sequence[Sequence[PartySpec]]) -> None:
        self._deliveries: queue.Queue[Delivery | Exception] = queue.Queue()
        self._connections: dict[str, Connection] = {}
        self._processes: list[multiprocessing.process.BaseProcess] = []
        try:
            for specs in groups:
                self._start(specs)
        except BaseException:
            # An interrupt: nothing else would end those that began, and they ignore signals.
            self.__exit__()
            raise

    def _start(self, specs: Sequence[PartySpec]) -> None:
        # A fork would copy the locks of torch's thread pools in whatever state they are in.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _interrupts_ignored():
            process.start()
            self._processes.append(process)
        theirs.close()
        # Plain pickle and not the connection's own: that one would move tensors through /dev/shm,
        # which containers often limit to 64 MB.
        ours.send_bytes(pickle.dumps(list(specs)))
        self._connections.update({spec.name: ours for spec in specs})
        names = ", ".join(spec.name for spec in specs)
        # A thread drains every pipe: two ends that both write large messages would deadlock.
        threading.Thread(target=self._drain, args=(ours, names), daemon=True).start()

    def _drain(self, connection: Connection, names: str) -> None:
        try:
            while True:
                sender, message = msgpack.unpackb(connection.recv_bytes())
                crashed = sender == _CRASH
                self._deliveries.put(
                    WorkerCrashedError(message) if crashed else Delivery(sender, message)
                )
        except (EOFError, OSError):
            self._deliveries.put(EngineError(f"the process that hosts {names} has died"))

    def publish(self, party: str, message: bytes) -> None:
        """See `Transport.publish`."""
        try:
            self._connections[party].send_bytes(msgpack.packb((party, message)))
        except OSError:
            raise EngineError(f"the process that hosts {party} has died") from None

    def receive(self, timeout: float | None = None) -> Delivery:
        """See `Transport.receive`."""
        try:
            item = self._deliveries.get(timeout=timeout)
        except queue.Empty:
            raise DeadlineExceeded(f"no member answered within {timeout:g} s") from None
        if isinstance(item, Exception):
            raise item
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for connection in self._connections.values():
            connection.close()


def _serve(connection: Connection) -> None:
    """Run a worker: build the parties, then answer until the coordinator has closed the pipe."""
    torch.set_num_threads(1)
    try:
        specs: list[PartySpec] = pickle.loads(connection.recv_bytes())  # noqa: S301 - our parent's
        parties = {spec.name: spec.build() for spec in specs}
        while True:
            name, message = msgpack.unpackb(connection.recv_bytes())
            for reply in parties[name].handle(message):
                connection.send_bytes(msgpack.packb((name, reply)))
    except (EOFError, OSError):
        connection.close()
    except Exception:
        connection.send_bytes(msgpack.packb((_CRASH, traceback.format_exc())))


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Have processes started in here ignore Ctrl-C and the like: the coordinator ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Terminals and service managers send them to all processes of a group.
    numbers = [getattr(signal, name) for name in _ENDS if hasattr(signal, name)]
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def balanced(specs: Sequence[PartySpec], groups: int) -> list[list[PartySpec]]:
    """Return the parties in groups of similar cost: largest first, to the least loaded group."""
    result: list[list[PartySpec]] = [[] for _ in range(min(groups, len(specs)))]
    for spec in sorted(specs, key=lambda s: (-s.cost, s.name)):
        min(result, key=lambda group: sum(s.cost for s in group)).append(spec)
    return result
