"""From a run directory to its result: read where the run has ended, else run and written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from securefl.federation.coordinator.rounds import RoundState
from securefl.federation.member.answers import Protection
from securefl.federation.runs.bound_data import CATALOGUE
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import Trained
from securefl.federation.runs.prepare import Prepared
from securefl.federation.runs.released import write_released
from securefl.federation.runs.result import (
    MemberResult,
    RunResult,
    members_left_out,
    round_cost,
    round_votes,
    run_refusals,
    unscored_rounds,
)
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import named_shared
from securefl.ml.tensor_io import write_tensors
from securefl.ml.vectors import ORDER


def completed(directory: RunDirectory, train: Callable[[], tuple[Prepared, Trained]]) -> RunResult:
    """Return the result of a run; `train` is called only if the run has not ended yet.

    Args:
        directory: The run's directory, kept locked meanwhile.
        train: Prepares the run and runs what is left of it.

    Raises:
        RunDirectoryError: If another process runs it, or a file of it is damaged.
        SecureflError: Any user-facing error of `train`.
    """
    with directory.locked():
        finished = directory.result()
        if finished is not None:
            return finished
        started = time.perf_counter()
        prepared, trained = train()
        _write_model(directory, prepared, trained.state)
        write_released(directory, prepared, trained)
        # The result comes last: where it is, the run has ended, and all else is in place.
        return _write_result(directory, prepared, trained, time.perf_counter() - started)


def _write_model(directory: RunDirectory, prepared: Prepared, state: RoundState) -> None:
    """Write the best round's shared model, the result of the training."""
    model = prepared.task.model(prepared.facts, 0)
    tensors = named_shared(model, state.best_shared)
    # With the order, a reader without the model's code has the vector that members signed.
    metadata = {
        "task": prepared.config.task,
        "round": str(state.best_round),
        ORDER: json.dumps(list(tensors)),
        # By it, a later run knows whether the rows stand for the same products.
        **({CATALOGUE: found} if (found := prepared.digests.agreed.get("products")) else {}),
    }
    write_tensors(directory.model_path, tensors, metadata)


def _write_result(
    directory: RunDirectory, prepared: Prepared, trained: Trained, seconds: float
) -> RunResult:
    """Write the closing result, and return it; `seconds` is wall time of this process's part."""
    config, state, arms = prepared.config, trained.state, trained.arms
    records = directory.records()
    result = RunResult(
        task=config.task,
        mode=config.mode,
        seed=config.seed,
        rounds=state.round,
        best_round=state.best_round,
        members=_member_results(prepared, trained),
        seconds=seconds,
        metrics={arm: total(tallies.values()).values() for arm, tallies in arms.items()},
        privacy=trained.privacy,
        run_dir=str(directory.path),
        refusals=run_refusals(trained.refused | _too_thin(prepared), records),
        history=tuple(round_cost(record) for record in records),
        ledger=str(directory.ledger_path),
        scores=trained.scores,
        simulation_only=trained.simulation_only,
        left_out=members_left_out(records),
        start=None if prepared.earlier is None else prepared.earlier.change(),
        unscored=unscored_rounds(records),
        votes=round_votes(records),
        discloses=config.discloses,
        agreed_rounds=config.rounds if state.round < config.rounds else None,
    )
    directory.save_result(result)
    return result


def _too_thin(prepared: Prepared) -> dict[str, str]:
    """Return what the data of members lack that take no part; they tell the others less."""
    return {name: why.removeprefix(f"{name}: ") for name, why in prepared.unable.items()}


def _member_results(prepared: Prepared, trained: Trained) -> tuple[MemberResult, ...]:
    """Return each member's part; sample counts are in it where members send them in the clear."""
    known = Protection.of(prepared.config) is Protection.PLAIN
    samples = {member.name: member.samples for member in prepared.members} if known else {}
    return tuple(
        MemberResult(
            name=name,
            samples=samples.get(name),
            metrics={
                arm: part[name].values() for arm, part in trained.arms.items() if name in part
            },
        )
        for name in trained.members
    )
