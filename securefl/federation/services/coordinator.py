"""The coordinator as a service: the run loop over a network, with members that can vanish."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import torch

from securefl.config.cohort import cohort_size
from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.transparency_log import open_log
from securefl.data.digests import DataDigests
from securefl.errors import AgreementError, RunDirectoryError
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import (
    RoundFailedError,
    SecureAggregator,
    UnverifiedRoundError,
)
from securefl.federation.aggregation.session_parameters import answer_sizes
from securefl.federation.coordinator.fault_tolerant import FailuresAsAbsence, FaultTolerantExchange
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.coordinator.rounds import Federation, RoundRecord, RoundState
from securefl.federation.coordinator.scores import ScoresInClear, ScoreSource, sums_alone
from securefl.federation.coordinator.vote import RejectedModelError
from securefl.federation.member.answers import Protection
from securefl.federation.runs.agreement import keep_agreement, read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import Hooks, RoundLoop, Trained, federation_of, taking_part
from securefl.federation.runs.outcome import completed
from securefl.federation.runs.prepare import Prepared, check_noise
from securefl.federation.runs.progress import Progress, Silent
from securefl.federation.runs.result import RunResult
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.public_facts import start_in
from securefl.federation.services.readmission import readmitting
from securefl.federation.services.status import StatusFile
from securefl.federation.transport.base import DeadlineExceeded
from securefl.federation.transport.exchange import Exchange, MemberFailedError, MemberInputError
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.journalled import COORDINATOR_NAME, JournalledTransport
from securefl.federation.transport.link import Opening
from securefl.federation.transport.nats.journal import CoordinatorJournal
from securefl.federation.transport.nats.transport import NatsTransport
from securefl.federation.transport.session_keys import RunKeys
from securefl.federation.transport.timeouts import TimeoutPolicy
from securefl.ml.cpu import keep_freed_memory
from securefl.tasks.registry import create_task
from securefl.tasks.served.starting import starting_model
from securefl_protocols.session.graph import default_threshold

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Carrier:
    """What carries a coordinator's messages to members on machines of their own.

    Attributes:
        opening: Opens the connection.
        transport: The transport over it.
    """

    opening: Opening
    transport: type[JournalledTransport]


@dataclass(frozen=True)
class NetworkHooks(Hooks):
    """The hooks of a service: a journal of answers, retries, and a status file.

    Requests in a section of the journal are made again as a whole after a restart, and answered
    from the journal as far as it goes. Requests of the ledger are outside of sections: they depend
    on the entries that the log has by now, and so are different requests after a restart.

    Attributes:
        transport: The way to the members.
        journal: Their answers.
        status: The file that `securefl status` shows.
        rounds: Number of rounds of the run.
    """

    transport: JournalledTransport
    journal: CoordinatorJournal
    status: StatusFile
    rounds: int

    def restore(self, federation: Federation, state: RoundState) -> None:
        """See `Hooks.restore`; members are still running, or restore from their own journals."""
        kept, aggregator = self.journal.snapshot(state.round), federation.aggregator
        if kept is not None and isinstance(aggregator, SecureAggregator):
            aggregator.restore(kept)

    def begin_round(self, number: int) -> None:
        """See `Hooks.begin_round`."""
        self.transport.begin_section(f"round {number}")
        self.status.round(number, self.rounds)

    def attempt(self, number: int, run: Callable[[], RoundRecord]) -> RoundRecord:
        """Run a round, and retry as long as it has no sum."""
        for pause in TimeoutPolicy.pauses():
            try:
                return run()
            except MemberInputError:
                raise  # all refuse: no other try changes that
            except (RoundFailedError, DeadlineExceeded, MemberFailedError) as error:
                _log.warning("round %d: %s; it is tried again", number, error)
                self.status.failed(str(error))
                time.sleep(pause)
            except UnverifiedRoundError as error:
                self.status.stopped(str(error))  # as it was agreed
                raise
        raise AssertionError("unreachable")

    def members_saved(self, federation: Federation, done: int) -> None:
        """See `Hooks.members_saved`."""
        if isinstance(federation.aggregator, SecureAggregator):
            self.journal.keep_snapshot(done, federation.aggregator.state())

    def round_saved(self, record: RoundRecord) -> None:
        """See `Hooks.round_saved`."""
        self.journal.forget(record.round)
        self.status.ended(record)

    def before_ledger(self) -> None:
        """See `Hooks.before_ledger`."""
        self.transport.begin_passing()

    def before_closing(self) -> None:
        """See `Hooks.before_closing`."""
        self.transport.begin_section("closing")

    def ended(self, federation: Federation) -> None:
        """Release the members, which erase the run's secrets."""
        self._release(federation, m.Shutdown())
        self.status.over()

    def stopped(self, federation: Federation, reason: str) -> None:
        """Release the members of a run that stops for good, which would wait without end."""
        self._release(federation, m.Shutdown(reason=reason))

    def _release(self, federation: Federation, message: m.Shutdown) -> None:
        self.transport.begin_section("leaving")
        federation.exchange.replies(dict.fromkeys(federation.members, message))


def coordinate(
    context: ConnectionContext,
    path: Path,
    timeouts: TimeoutPolicy,
    progress: Progress | None = None,
    before: Path | None = None,
    *,
    carrier: Carrier | None = None,
) -> RunResult:
    """Run what was agreed, from the point where this coordinator ended last.

    Args:
        context: The agreement and the coordinator's key.
        path: The run's directory, created where it does not exist.
        timeouts: How long members are waited for.
        progress: Receives the progress.
        before: Directory of the run before it in an agreed schedule; None for the first.
        carrier: What carries its messages; the agreed broker if not given.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    if context.name is not None:
        raise AgreementError(f"this is the key of {context.name}; the coordinator has its own")
    keep_freed_memory()
    torch.set_num_threads(1)
    directory = _directory(path, context)

    def train() -> tuple[Prepared, Trained]:
        prepared = _prepared(context, before)
        carried = carrier or Carrier(lambda faults: context.connected(faults=faults), NatsTransport)
        watch = progress or Silent()
        return prepared, _trained(context, prepared, directory, timeouts, watch, carrier=carried)

    return completed(directory, train)


def agreed_timeouts(context: ConnectionContext, timeouts: TimeoutPolicy) -> TimeoutPolicy:
    """Return the timeouts with the quorum that the agreement's rounds need."""
    config, count = context.config, len(context.run.members)
    size = cohort_size(config.cohort, count)
    least = default_threshold(size) if config.mode == "secure" else 1
    return TimeoutPolicy(**(vars(timeouts) | {"quorum": max(config.cohort.minimum, least)}))


def _directory(path: Path, context: ConnectionContext) -> RunDirectory:
    if not path.exists():
        directory = RunDirectory.create(path, context.config)
        keep_agreement(directory, context.signed, context.run.id)
        return directory
    directory = RunDirectory.open(path)
    if directory.config != context.config:
        raise RunDirectoryError(f"{path} belongs to another agreement")
    if read_run(directory) != context.run.id:
        # Else a finished run would be shown as the result of one that never ran.
        raise RunDirectoryError(
            f"{path} belongs to another run of this agreement (or to other facts): name another"
            " folder with --out, or that run with --run"
        )
    return directory


def _prepared(context: ConnectionContext, before: Path | None) -> Prepared:
    """Return the coordinator's input of the rounds, which has no data of any member."""
    config, facts = context.config, context.facts.content
    task = create_task(config)
    if context.number > 1:
        shared = starting_model(_after(config, before), task, facts)
    elif config.goes_on:
        shared = start_in(context.facts, task.model(facts, 0))
    else:
        shared = starting_model(config, task, facts)
    check_noise(config, len(context.run.members), len(shared))
    return Prepared(config, task, facts, (), shared, DataDigests({}, {}))


def _after(config: RunConfig, before: Path | None) -> RunConfig:
    """Return the configuration with the model of the run before it in the schedule.

    The catalogue is one for all runs of an agreement, so its rows stand for the same products.

    Raises:
        RunDirectoryError: If that run is not there, or has no result.
    """
    if before is None or RunDirectory.open(before).result() is None:
        raise RunDirectoryError(
            "a later run of the schedule goes on from the one before it: use --schedule"
        )
    return config.model_copy(update={"warm_start": str(RunDirectory.open(before).model_path)})


def _scores(prepared: Prepared, exchange: Exchange, consortium: Consortium) -> ScoreSource:
    """Return the source of scores: where updates are in the clear, so are scores; else sums are."""
    if Protection.of(prepared.config) is Protection.PLAIN:
        return ScoresInClear(exchange, metrics=prepared.task.scored_metrics)
    return sums_alone(exchange, consortium, prepared.task.scored_metrics)


def _trained(
    context: ConnectionContext,
    prepared: Prepared,
    directory: RunDirectory,
    timeouts: TimeoutPolicy,
    watch: Progress,
    *,
    carrier: Carrier,
) -> Trained:
    consortium = context.consortium
    keep_agreement(directory, consortium.signed, consortium.run_id)
    place = directory.path / "coordinator"
    with ExitStack() as stack:
        journal = stack.enter_context(closing(CoordinatorJournal(place)))
        own = RunKeys(place, context.key, context.run.id, COORDINATOR_NAME)
        keys = stack.enter_context(closing(own))
        agreed, faults = agreed_timeouts(context, timeouts), StandingFaults()
        status = StatusFile(directory.path, context, faults, agreed.quorum)
        stack.enter_context(closing(status))
        link = stack.enter_context(carrier.opening(faults))
        status.joined(link)
        log = stack.enter_context(closing(open_log(directory.ledger_path, consortium)))
        transport = carrier.transport(
            link,
            context.run,
            keys,
            journal=journal,
            timeouts=agreed,
            watch=status,
            sizes=answer_sizes(consortium, len(prepared.shared)),
        )
        stack.enter_context(readmitting(directory.path, context.run.members, transport.readmit))
        hooks = NetworkHooks(transport, journal, status, prepared.config.rounds)
        # Training needs to tell a failure from an absence; the ledger's requests must not be
        # stopped by one failing member. Both see the same refusals.
        exchange = FaultTolerantExchange(transport)
        recorded = FailuresAsAbsence(transport)
        exchange.refusals = recorded.refusals
        exchange.report = recorded.report = status.unusable
        recorder = Recorder(log, recorded, consortium.roster.names)
        hooks.before_ledger()
        watch.stage("Waiting for members")
        members = taking_part(recorder, recorded)
        scores = _scores(prepared, exchange, consortium)
        federation = federation_of(
            prepared, directory, consortium, exchange, members, scores=scores
        )
        try:
            trained = RoundLoop(federation, hooks, prepared, directory, recorder, watch).run()
        except (UnverifiedRoundError, RejectedModelError) as error:
            status.stopped(str(error))
            hooks.stopped(federation, str(error))
            link.flush()
            raise
        link.flush()
        # The run's keys are erased only now: until the last message has left, a restart needs them.
        keys.erase()
        return trained
