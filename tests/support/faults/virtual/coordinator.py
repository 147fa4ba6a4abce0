"""The coordinator's process in virtual time, with its journal, and the check of each sum."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from unittest.mock import patch

import numpy as np

from securefl.federation import messages as m
from securefl.federation.aggregation.secure import MaskedSum, RoundFailedError, SecureAggregator
from securefl.federation.aggregation.session_parameters import encode_update
from securefl.federation.coordinator.fault_tolerant import FaultTolerantExchange
from securefl.federation.transport.answer_sizes import AnswerSizes
from securefl.federation.transport.base import DeadlineExceeded
from securefl.federation.transport.journalled import COORDINATOR_NAME
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats import transport as nats_transport
from securefl.federation.transport.nats.journal import CoordinatorJournal
from securefl.federation.transport.nats.transport import NatsTransport
from securefl.federation.transport.session_keys import RunKeys
from securefl.federation.transport.timeouts import TimeoutPolicy
from securefl.ml.vectors import FloatVector
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.graph import default_threshold
from support.faults.virtual.broker import Line
from support.faults.virtual.doom import Doom
from support.faults.virtual.links import VirtualLink
from support.faults.virtual.scene import VirtualScene
from support.masked_federation import proof_of
from support.rehearsal import rehearsed_change

_TRIES = 12
"""After so many tries without a sum a round counts as stuck."""
_DURABLE = {"journal": ("record", "keep_snapshot", "forget"), "link": ("send",)}


class StuckError(AssertionError):
    """A round has no sum, however often it is tried."""


class WrongSumError(AssertionError):
    """A round's sum is not that of its survivors' inputs."""


class _NoLease:
    """A lease is about wall clocks and live processes; test_one_of_each.py has it."""

    def __init__(self, link: object, subject: str) -> None:
        del link, subject

    def take(self) -> None:
        pass


class VirtualCoordinator:
    """The coordinator: it goes on from its files whenever it is started.

    Attributes:
        doom: How long it lives.
        done: The rounds that it has, with their survivors.
        tries: Tries of the present round.
    """

    def __init__(self, scene: VirtualScene, dimension: int) -> None:
        self.scene, self.dimension = scene, dimension
        self.doom, self.line = Doom(), Line()
        self.done: list[tuple[str, ...]] = []
        self.tries = 0

    @property
    def place(self) -> Path:
        """The folder of its journal."""
        return self.scene.folder / "coordinator"

    def run(self, rounds: int, begun: Callable[[int], None]) -> None:
        """Run the rounds that are left.

        Args:
            rounds: How many there are in all.
            begun: Called when a round begins, also once more after a restart.

        Raises:
            KilledError: If it is killed.
            StuckError, WrongSumError: If the protocol failed.
        """
        scene, self.doom = self.scene, Doom()
        with ExitStack() as stack:
            link = scene.hub = VirtualLink(scene.broker, self.line, scene.run.layout)
            stack.callback(self._gone, link)
            journal = stack.enter_context(closing(CoordinatorJournal(self.place)))
            own = RunKeys(self.place, SigningKey(scene.identity), scene.run.id, COORDINATOR_NAME)
            keys = stack.enter_context(closing(own))
            self.doom.follow(journal, _DURABLE["journal"])
            self.doom.follow(link, _DURABLE["link"])
            self.doom.fill(journal, "record", lambda: sqlite3.OperationalError("disk is full"))
            transport = self._transport(link, keys, journal)
            self._rounds(transport, journal, rounds, begun)

    def _gone(self, link: VirtualLink) -> None:
        self.scene.hub = None
        link.close()

    def _transport(
        self, link: VirtualLink, keys: RunKeys, journal: CoordinatorJournal
    ) -> NatsTransport:
        quorum = default_threshold(len(self.scene.names))
        timeouts = TimeoutPolicy(quorum=quorum, tick=0.5)
        with patch.object(nats_transport, "Lease", _NoLease):
            return NatsTransport(
                link,
                self.scene.run,
                keys,
                journal=journal,
                timeouts=timeouts,
                watch=LivenessTracker(),
                sizes=AnswerSizes(self.dimension, 2 * self.dimension, len(self.scene.names), 1000),
            )

    def _rounds(
        self,
        transport: NatsTransport,
        journal: CoordinatorJournal,
        rounds: int,
        begun: Callable[[int], None],
    ) -> None:
        exchange = FaultTolerantExchange(transport)
        aggregator = SecureAggregator(self.scene.consortium)
        done, shared = self._saved()
        kept = journal.snapshot(done)
        if kept is not None:
            aggregator.restore(kept)
        self._pass(transport, exchange)
        for number in range(done + 1, rounds + 1):
            begun(number)
            transport.begin_section(f"round {number}")
            result = self._sum(exchange, aggregator, number, shared)
            self.check(number, result)
            change = aggregator.decoded(result).change
            shared = (shared.astype(float) + change).astype(np.float32)
            proof = proof_of(self.scene.consortium, number, result, shared)
            aggregator.hand_over(proof, b"", proof.signatures)
            exchange.ask_all(self.scene.names, m.Save(round=number), m.Done)
            journal.keep_snapshot(number, aggregator.state())
            self._save(number, shared, result.survivors)
            journal.forget(number)
            self._pass(transport, exchange)
            self.tries = 0

    def _pass(self, transport: NatsTransport, exchange: FaultTolerantExchange) -> None:
        """Ask something outside of the rounds, as the ledger does; a rehearsal refuses it."""
        transport.begin_passing()
        exchange.replies(dict.fromkeys(self.scene.names, m.StartRun(since=0)))

    def _sum(
        self,
        exchange: FaultTolerantExchange,
        aggregator: SecureAggregator,
        number: int,
        shared: FloatVector,
    ) -> MaskedSum:
        while True:
            exchange.forget_failures()
            try:
                return aggregator.masked_sum(exchange, number, shared, self.scene.names)
            except (RoundFailedError, DeadlineExceeded) as error:
                self.tries += 1
                if self.tries > _TRIES:
                    raise StuckError(f"round {number}: {error}") from None
                self.scene.world.sleep(10.0)

    def check(self, number: int, result: MaskedSum) -> None:
        """Compare a sum with the plain one of its survivors' inputs, integer by integer.

        Raises:
            WrongSumError: If they differ in a bit.
        """
        encoding, wanted = result.terms.encoding, np.zeros_like(result.total)
        for name in result.survivors:
            change = rehearsed_change(name, number, self.dimension)
            wanted += encode_update(encoding, change, 1.0, 1)
        if not np.array_equal(result.total, wanted):
            raise WrongSumError(f"round {number}: not the sum of {result.survivors}")

    def _saved(self) -> tuple[int, FloatVector]:
        path = self.scene.folder / "model.npy"
        if not path.exists():
            return 0, np.zeros(self.dimension, dtype=np.float32)
        kept: FloatVector = np.load(path)
        return len(self.done), kept

    def _save(self, number: int, shared: FloatVector, survivors: tuple[str, ...]) -> None:
        """Make a round part of the run, whole or not at all: no kill comes in between."""
        np.save(self.scene.folder / "model.npy", shared)
        assert number == len(self.done) + 1
        self.done.append(survivors)
