"""The coordinator on a machine of its own: the rounds of `rounds.py` over a network, durably."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import torch

from securefl import messages as m
from securefl.aggregation.plain import PlainAggregator
from securefl.aggregation.secure import RoundFailedError, SecureAggregator
from securefl.aggregation.terms import model_digest
from securefl.cohort import cohort_size
from securefl.consortium.memory import keep_freed_memory
from securefl.consortium.network import Meeting
from securefl.consortium.patient import ForgivingExchange, PatientExchange
from securefl.consortium.status import StatusFile
from securefl.engines.nats import COORDINATOR_NAME, NatsTransport
from securefl.engines.nats_journal import CoordinatorJournal
from securefl.engines.patience import Patience
from securefl.engines.run_keys import RunKeys
from securefl.engines.transport import DeadlineExceeded
from securefl.errors import AgreementError, RunDirectoryError
from securefl.ledger.log import open_log
from securefl.ledger.recorder import Recorder
from securefl.rounds import (
    Federation,
    RoundRecord,
    RoundState,
    initial_state,
    run_round,
    spent,
)
from securefl.runs.arms import Arms, evaluate_arms
from securefl.runs.directory import RunDirectory
from securefl.runs.identity import keep_agreement
from securefl.runs.prepare import Prepared, check_noise, starting_model
from securefl.runs.progress import Progress, Silent
from securefl.runs.protection import run_privacy
from securefl.runs.result import RunResult
from securefl.runs.run import Trained, archive_of, taking_part, write_model, write_result
from securefl.tasks.registry import create_task
from securefl_protocols.graph import default_threshold

_log = logging.getLogger(__name__)
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class _Network:
    """A run under way."""

    transport: NatsTransport
    journal: CoordinatorJournal
    federation: Federation
    recorder: Recorder
    directory: RunDirectory
    status: StatusFile
    watch: Progress


def coordinate(
    meeting: Meeting, path: Path, patience: Patience, progress: Progress | None = None
) -> RunResult:
    """Run what was agreed, from wherever this coordinator was when it ended last.

    Args:
        meeting: The agreement and the coordinator's key.
        path: The run's directory, made where there is none.
        patience: How long members are waited for.
        progress: Who is told how it goes.

    Raises:
        SecureflError: Whatever a person can mend, as one line.
    """
    if meeting.name is not None:
        raise AgreementError(f"this is the key of {meeting.name}; the coordinator has its own")
    keep_freed_memory()
    torch.set_num_threads(1)
    directory = _directory(path, meeting)
    with directory.locked():
        finished = directory.result()
        if finished is not None:
            return finished
        started = time.perf_counter()
        prepared = _prepared(meeting)
        trained = _trained(meeting, prepared, directory, patience, progress or Silent())
        write_model(directory, prepared, trained.state)
        return write_result(directory, prepared, trained, time.perf_counter() - started)


def agreed_patience(meeting: Meeting, patience: Patience) -> Patience:
    """The same with the quorum that the agreement's rounds need."""
    config, count = meeting.config, len(meeting.run.members)
    size = cohort_size(config.cohort, count)
    least = default_threshold(size) if config.mode == "secure" else 1
    return Patience(**(vars(patience) | {"quorum": max(config.cohort.minimum, least)}))


def _directory(path: Path, meeting: Meeting) -> RunDirectory:
    if not path.exists():
        directory = RunDirectory.create(path, meeting.config)
        keep_agreement(directory, meeting.signed, meeting.run.id)
        return directory
    directory = RunDirectory.open(path)
    if directory.config != meeting.config:
        raise RunDirectoryError(f"{path} belongs to another agreement")
    return directory


def _prepared(meeting: Meeting) -> Prepared:
    """What the coordinator starts from: no datum of any member."""
    config, facts = meeting.config, meeting.facts.content
    task = create_task(config)
    shared = starting_model(config, task, facts)
    check_noise(config, len(meeting.run.members), len(shared))
    return Prepared(config, task, facts, (), shared, {})


def _trained(
    meeting: Meeting,
    prepared: Prepared,
    directory: RunDirectory,
    patience: Patience,
    watch: Progress,
) -> Trained:
    consortium, names = meeting.consortium, meeting.consortium.roster.names
    keep_agreement(directory, consortium.signed, consortium.run_id)
    place = directory.path / "coordinator"
    with (
        closing(CoordinatorJournal(place)) as journal,
        closing(RunKeys(place, meeting.key, meeting.run.id, COORDINATOR_NAME)) as keys,
        meeting.connected() as link,
        closing(open_log(directory.ledger_path, consortium)) as log,
    ):
        status = StatusFile(directory.path, meeting, link)
        patient = agreed_patience(meeting, patience)
        transport = NatsTransport(
            link, meeting.run, keys, journal=journal, patience=patient, watch=status
        )
        exchange = PatientExchange(transport)
        recorded = ForgivingExchange(transport)
        exchange.refusals = recorded.refusals
        recorder = Recorder(log, recorded, names)
        transport.begin_passing()
        watch.stage("Waiting for members")
        plain = consortium.config.mode == "plain"
        federation = Federation(
            config=prepared.config,
            roster=names,
            members=taking_part(recorder, recorded),
            exchange=exchange,
            aggregator=PlainAggregator() if plain else SecureAggregator(consortium),
            archive=archive_of(prepared.config, directory),
            decisive=prepared.task.metrics[0],
        )
        run = _Network(transport, journal, federation, recorder, directory, status, watch)
        state = _all_rounds(run, prepared)
        trained = _closed(run, prepared, state)
        link.flush()
        keys.erase()
        return trained


def _all_rounds(run: _Network, prepared: Prepared) -> RoundState:
    state = initial_state(prepared.config, prepared.shared)
    run.directory.keep_start(prepared.shared)
    run.directory.restore(state)
    _restore_sessions(run, state.round)
    for record in run.directory.records()[-1:]:
        _conclude(run, record, state)
    run.watch.begin(state.round, prepared.config.rounds)
    for record in _rounds(run, state):
        run.watch.round(record)
    return state


def _rounds(run: _Network, state: RoundState) -> Iterator[RoundRecord]:
    """The rounds that are left, each durable when it is yielded."""
    while state.round < run.federation.config.rounds:
        run.transport.begin_section(f"round {state.round + 1}")
        run.status.round(state.round + 1, run.federation.config.rounds)
        record = _round(run, state)
        run.federation.save_members(state.round)
        aggregator = run.federation.aggregator
        if isinstance(aggregator, SecureAggregator):
            run.journal.keep_snapshot(state.round, aggregator.state())
        run.directory.save_round(record, state)
        run.journal.forget(state.round)
        run.status.ended(record)
        _conclude(run, record, state)
        yield record


def _round(run: _Network, state: RoundState) -> RoundRecord:
    """One round, tried again for as long as it has no sum."""
    for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
        try:
            return run_round(run.federation, state)
        except (RoundFailedError, DeadlineExceeded) as error:
            _log.warning("round %d: %s; it is tried again", state.round + 1, error)
            run.status.failed(str(error))
            time.sleep(pause)
    raise AssertionError("unreachable")


def _restore_sessions(run: _Network, done: int) -> None:
    kept, aggregator = run.journal.snapshot(done), run.federation.aggregator
    if kept is not None and isinstance(aggregator, SecureAggregator):
        aggregator.restore(kept)


def _conclude(run: _Network, record: RoundRecord, state: RoundState) -> None:
    run.transport.begin_passing()
    run.recorder.conclude(
        run.federation.members,
        number=record.round,
        survivors=record.survivors,
        model=model_digest(state.shared),
        transcript=None if record.transcript is None else bytes.fromhex(record.transcript),
    )


def _closed(run: _Network, prepared: Prepared, state: RoundState) -> Trained:
    """Evaluate, have the log signed for the last time, and let the members go."""
    federation = run.federation
    run.watch.stage("Evaluating on the test cases")
    run.transport.begin_section("closing")
    arms: Arms = evaluate_arms(federation, prepared, state)
    privacy = run_privacy(prepared.config, spent(federation))
    run.transport.begin_passing()
    run.recorder.finish(federation.members, state.round)
    run.transport.begin_section("leaving")
    federation.exchange.replies(dict.fromkeys(federation.members, m.Leave()))
    run.status.over()
    return Trained(state, arms, privacy, federation.members, federation.exchange.refused_in(0))
