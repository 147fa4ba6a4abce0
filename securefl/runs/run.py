"""A whole run: load -> partition -> rounds -> evaluate beside the references -> result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch

from securefl.aggregation.aggregate import Aggregator
from securefl.aggregation.plain import PlainAggregator
from securefl.aggregation.secure import SecureAggregator
from securefl.aggregation.terms import Consortium
from securefl.engines.transport import Transport
from securefl.evaluation.tally import total
from securefl.exchange import Exchange
from securefl.models.locality import named_shared
from securefl.rounds import Federation, RoundState, initial_state, run_rounds, spent
from securefl.runs.arms import Arms, evaluate_arms, request_pooled
from securefl.runs.directory import RunDirectory
from securefl.runs.hosting import local_consortium, member_specs, open_engine
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
    """

    state: RoundState
    arms: Arms
    privacy: RunPrivacy | None


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
        _write_model(directory, prepared, trained.state)
        result = _result(directory, prepared, trained, time.perf_counter() - started)
        directory.save_result(result)
        return result


def train_and_evaluate(
    prepared: Prepared,
    directory: RunDirectory,
    watch: Progress,
    inspection: Inspection | None = None,
) -> Trained:
    """The rounds that are left, then every arm on the test cases."""
    torch.set_num_threads(1)
    consortium, identities = local_consortium(prepared)
    reveals = inspection is not None
    members = member_specs(prepared, directory, consortium, identities, reveals=reveals)
    with open_engine(prepared, directory, members) as transport:
        federation = Federation(
            config=prepared.config,
            members=tuple(member.name for member in prepared.members),
            exchange=Exchange(transport),
            aggregator=_aggregator(consortium, transport, inspection),
            decisive=prepared.task.metrics[0],
        )
        request_pooled(federation, prepared)
        state = _train(federation, prepared, directory, watch)
        if inspection is not None:
            inspection.finished(federation)
        watch.stage(_CLOSING[prepared.config.references.enabled])
        arms = evaluate_arms(federation, prepared, state)
        return Trained(state, arms, run_privacy(prepared.config, spent(federation)))


def _aggregator(
    consortium: Consortium, transport: Transport, inspection: Inspection | None
) -> Aggregator:
    plain = consortium.config.mode == "plain"
    aggregator = PlainAggregator() if plain else SecureAggregator(consortium)
    return inspection.inspect(aggregator, transport) if inspection else aggregator


def _train(
    federation: Federation, prepared: Prepared, directory: RunDirectory, watch: Progress
) -> RoundState:
    state = initial_state(prepared.config, prepared.shared)
    directory.restore(state)
    federation.restore_members(state.round)
    watch.begin(state.round, prepared.config.rounds)
    for record in run_rounds(federation, state):
        federation.save_members(state.round)
        directory.save_round(record, state)
        watch.round(record)
    return state


def _write_model(directory: RunDirectory, prepared: Prepared, state: RoundState) -> None:
    model = prepared.task.model(prepared.facts, 0)
    metadata = {"task": prepared.config.task, "round": str(state.best_round)}
    write_tensors(directory.model_path, named_shared(model, state.best_shared), metadata)


def _result(
    directory: RunDirectory, prepared: Prepared, trained: Trained, seconds: float
) -> RunResult:
    config, state, arms = prepared.config, trained.state, trained.arms
    members = tuple(
        MemberResult(
            name=member.name,
            samples=member.samples,
            metrics={arm: tallies[member.name].values() for arm, tallies in arms.items()},
        )
        for member in prepared.members
    )
    return RunResult(
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
    )
