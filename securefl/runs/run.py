"""A whole run: load -> partition -> rounds -> evaluate beside the references -> result."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import torch

from securefl.aggregation.aggregate import Aggregator
from securefl.aggregation.plain import PlainAggregator
from securefl.aggregation.secure import SecureAggregator
from securefl.aggregation.terms import Consortium, model_digest
from securefl.config.schema import RunConfig
from securefl.engines.transport import Transport
from securefl.errors import InputError
from securefl.evaluation.tally import total
from securefl.exchange import Exchange
from securefl.ledger.archive import TranscriptArchive
from securefl.ledger.log import open_log
from securefl.ledger.recorder import Recorder
from securefl.models.locality import named_shared
from securefl.rounds import (
    Federation,
    RoundRecord,
    RoundState,
    initial_state,
    run_rounds,
    spent,
)
from securefl.runs.arms import Arms, evaluate_arms, request_pooled
from securefl.runs.directory import RunDirectory
from securefl.runs.history import round_cost, run_refusals
from securefl.runs.hosting import member_specs, open_engine
from securefl.runs.identity import resident_consortium
from securefl.runs.prepare import Prepared, prepare
from securefl.runs.progress import Progress, Silent
from securefl.runs.protection import run_privacy
from securefl.runs.result import MemberResult, RunPrivacy, RunResult
from securefl.tensor_files import write_tensors

_CLOSING = {
    True: "Comparing with each retailer alone and with all data in one place",
    False: "Evaluating on the test cases",
}


@dataclass(frozen=True)
class Trained:
    """What the rounds and the closing evaluation gave.

    Attributes:
        state: Where the rounds ended.
        arms: Every arm on the test cases.
        privacy: How customers were protected.
        members: Who took part.
        refused: Who refused the whole run, and why.
    """

    state: RoundState
    arms: Arms
    privacy: RunPrivacy | None
    members: tuple[str, ...]
    refused: dict[str, str]


class Inspection(Protocol):
    """Looks over the shoulder of a simulated run; its members lay open what they are asked for."""

    def inspect(self, aggregator: Aggregator, transport: Transport) -> Aggregator:
        """The aggregator that is watched in place of the given one."""

    def finished(self, federation: Federation) -> None:
        """The rounds are over."""


def run(
    directory: RunDirectory,
    progress: Progress | None = None,
    inspection: Inspection | None = None,
) -> RunResult:
    """Run what the directory's configuration says, from its last checkpoint on.

    A run that has ended already is not run again.

    Args:
        directory: Where the run lives.
        progress: Who is told how it goes.
        inspection: Who looks over its shoulder; only a simulation can have one.

    Raises:
        SecureflError: Whatever a person can mend, as one line.
    """
    watch = progress or Silent()
    with directory.locked():
        finished = directory.result()
        if finished is not None:
            return finished
        started = time.perf_counter()
        watch.stage("Loading and partitioning the data")
        prepared = prepare(directory.config)
        trained = train_and_evaluate(prepared, directory, watch, inspection)
        write_model(directory, prepared, trained.state)
        return write_result(directory, prepared, trained, time.perf_counter() - started)


def train_and_evaluate(
    prepared: Prepared,
    directory: RunDirectory,
    watch: Progress,
    inspection: Inspection | None = None,
) -> Trained:
    """The rounds that are left, then every arm on the test cases."""
    torch.set_num_threads(1)
    consortium, identities = resident_consortium(prepared, directory)
    names = consortium.roster.names
    reveals = inspection is not None
    members = member_specs(prepared, directory, consortium, identities, reveals=reveals)
    with (
        closing(open_log(directory.ledger_path, consortium)) as log,
        open_engine(prepared, directory, members) as transport,
    ):
        exchange = Exchange(transport)
        recorder = Recorder(log, exchange, names)
        federation = Federation(
            config=prepared.config,
            roster=names,
            members=taking_part(recorder, exchange),
            exchange=exchange,
            aggregator=_aggregator(consortium, transport, inspection),
            archive=archive_of(prepared.config, directory),
            decisive=prepared.task.metrics[0],
        )
        request_pooled(federation, prepared)
        state = _train(federation, prepared, directory, recorder, watch)
        if inspection is not None:
            inspection.finished(federation)
        watch.stage(_CLOSING[prepared.config.references.enabled])
        arms = evaluate_arms(federation, prepared, state)
        privacy = run_privacy(prepared.config, spent(federation))
        recorder.finish(federation.members, state.round)
        return Trained(state, arms, privacy, federation.members, exchange.refused_in(0))


def _aggregator(
    consortium: Consortium, transport: Transport, inspection: Inspection | None
) -> Aggregator:
    plain = consortium.config.mode == "plain"
    aggregator = PlainAggregator() if plain else SecureAggregator(consortium)
    return inspection.inspect(aggregator, transport) if inspection else aggregator


def taking_part(recorder: Recorder, exchange: Exchange) -> tuple[str, ...]:
    """Who takes part in a run, in roster order.

    Raises:
        InputError: If everybody refuses.
    """
    members = recorder.begin()
    if not members:
        name, text = next(iter(exchange.refused_in(0).items()))
        raise InputError(f"nobody takes part: {name} refused: {text}")
    return members


def archive_of(config: RunConfig, directory: RunDirectory) -> TranscriptArchive:
    """Where the transcripts of a run's masked sums are kept."""
    return TranscriptArchive(directory.transcripts, config.ledger.transcript_mebibytes)


def _train(
    federation: Federation,
    prepared: Prepared,
    directory: RunDirectory,
    recorder: Recorder,
    watch: Progress,
) -> RoundState:
    state = initial_state(prepared.config, prepared.shared)
    directory.keep_start(prepared.shared)
    directory.restore(state)
    federation.restore_members(state.round)
    for record in directory.records()[-1:]:
        # A kill may have come between the last checkpoint and its entry in the ledger.
        _conclude(federation, recorder, record, state)
    watch.begin(state.round, prepared.config.rounds)
    for record in run_rounds(federation, state):
        federation.save_members(state.round)
        directory.save_round(record, state)
        _conclude(federation, recorder, record, state)
        watch.round(record)
    return state


def _conclude(
    federation: Federation, recorder: Recorder, record: RoundRecord, state: RoundState
) -> None:
    recorder.conclude(
        federation.members,
        number=record.round,
        survivors=record.survivors,
        model=model_digest(state.shared),
        transcript=None if record.transcript is None else bytes.fromhex(record.transcript),
    )


def write_model(directory: RunDirectory, prepared: Prepared, state: RoundState) -> None:
    """Write the best round's shared model, the result of the training."""
    model = prepared.task.model(prepared.facts, 0)
    metadata = {"task": prepared.config.task, "round": str(state.best_round)}
    write_tensors(directory.model_path, named_shared(model, state.best_shared), metadata)


def write_result(
    directory: RunDirectory, prepared: Prepared, trained: Trained, seconds: float
) -> RunResult:
    """Write the closing result, and return it.

    Args:
        directory: The run's directory.
        prepared: What the run started from.
        trained: How it ended.
        seconds: Wall time of this process's part.
    """
    config, state, arms = prepared.config, trained.state, trained.arms
    samples = {member.name: member.samples for member in prepared.members}
    members = tuple(
        MemberResult(
            name=name,
            samples=samples.get(name, 0),
            metrics={arm: part[name].values() for arm, part in arms.items() if name in part},
        )
        for name in trained.members
    )
    records = directory.records()
    result = RunResult(
        task=config.task,
        mode=config.mode,
        seed=config.seed,
        rounds=state.round,
        best_round=state.best_round,
        members=members,
        seconds=seconds,
        metrics={arm: total(tallies.values()).values() for arm, tallies in arms.items()},
        privacy=trained.privacy,
        run_dir=str(directory.path),
        refusals=run_refusals(trained.refused, records),
        history=tuple(round_cost(record) for record in records),
        ledger=str(directory.ledger_path),
    )
    directory.save_result(result)
    return result
