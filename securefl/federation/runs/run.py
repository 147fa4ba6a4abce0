"""A run whose members are simulated on one machine: load, partition, run the loop, write."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from securefl.consortium.ledger.transparency_log import open_log
from securefl.errors import InputError
from securefl.federation.aggregation.base import Aggregator
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.coordinator.rounds import Federation, RoundState
from securefl.federation.runs.agreement import resident_consortium
from securefl.federation.runs.bound_data import bind_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import Hooks, RoundLoop, Trained, federation_of, taking_part
from securefl.federation.runs.observation import simulated_scores
from securefl.federation.runs.outcome import completed
from securefl.federation.runs.prepare import Prepared, prepare
from securefl.federation.runs.progress import Progress, Silent
from securefl.federation.runs.result import RunResult
from securefl.federation.runs.simulation import member_specs, open_engine
from securefl.federation.transport.base import Transport
from securefl.federation.transport.exchange import Exchange


class RunObserver(Protocol):
    """An observer of a simulated run, whose members disclose their updates to it."""

    def observe(self, aggregator: Aggregator, transport: Transport) -> Aggregator:
        """Return the aggregator that is used in place of the given one."""

    def rounds_ended(self, federation: Federation) -> None:
        """Called after the last round."""


@dataclass(frozen=True)
class SimulationHooks(Hooks):
    """The hooks of a simulation, whose members are new objects and have to be restored.

    Attributes:
        observer: The observer of the run, if it has one.
    """

    observer: RunObserver | None

    def restore(self, federation: Federation, state: RoundState) -> None:
        """See `Hooks.restore`; the aggregator opens new sessions, as the members have none."""
        federation.restore_members(state.round)
        # None of the new members knows of the last sum, though most of them signed its end.
        if state.proof is not None:
            federation.aggregator.hand_over(state.proof, state.server.pack(), ())

    def rounds_ended(self, federation: Federation) -> None:
        """See `Hooks.rounds_ended`."""
        if self.observer is not None:
            self.observer.rounds_ended(federation)


def run(
    directory: RunDirectory,
    progress: Progress | None = None,
    observer: RunObserver | None = None,
) -> RunResult:
    """Run what the directory's configuration says, from its last checkpoint on.

    A run that has ended already is not run again.

    Args:
        directory: The run's directory.
        progress: Receives the progress.
        observer: Observes its rounds; only a simulation can have one.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    watch = progress or Silent()

    def train() -> tuple[Prepared, Trained]:
        watch.stage("Loading and partitioning the data")
        try:
            prepared = prepare(directory.config)
        except InputError:
            directory.discard_unstarted()
            raise
        return prepared, train_and_evaluate(prepared, directory, watch, observer)

    return completed(directory, train)


def train_and_evaluate(
    prepared: Prepared,
    directory: RunDirectory,
    watch: Progress,
    observer: RunObserver | None = None,
) -> Trained:
    """Run the rounds that are left, then score every arm on the test cases."""
    torch.set_num_threads(1)
    bind_run(directory.path, prepared.digests)
    consortium, identities = resident_consortium(prepared, directory)
    discloses = observer is not None
    specs = member_specs(prepared, directory, consortium, identities)
    with (
        closing(open_log(directory.ledger_path, consortium)) as log,
        open_engine(prepared, specs, identities, discloses=discloses) as transport,
    ):
        exchange = Exchange(transport)
        recorder = Recorder(log, exchange, consortium.roster.names)
        members = taking_part(recorder, exchange)
        scores = simulated_scores(exchange, prepared, consortium)
        federation = federation_of(
            prepared,
            directory,
            consortium,
            exchange,
            members,
            scores=scores,
            tries=directory.tries_path,
        )
        if observer is not None:
            watched = observer.observe(federation.aggregator, transport)
            federation = replace(federation, aggregator=watched)
        hooks = SimulationHooks(observer)
        return RoundLoop(federation, hooks, prepared, directory, recorder, watch).run()
