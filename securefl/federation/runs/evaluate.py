"""Scoring of a finished run, from its directory and its data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from securefl.config.schema import RunConfig
from securefl.errors import InputError, RunDirectoryError
from securefl.federation import messages as m
from securefl.federation.coordinator.scores import scores_of
from securefl.federation.runs.agreement import resident_consortium
from securefl.federation.runs.bound_data import check_run
from securefl.federation.runs.directory import REPEAT, RunDirectory
from securefl.federation.runs.prepare import Prepared, prepare
from securefl.federation.runs.result import Numbers, RunResult
from securefl.federation.runs.simulation import member_specs, observed
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import joined_shared
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import FloatVector


@dataclass(frozen=True)
class Evaluation:
    """The metrics of the released model, with each retailer's own local part.

    Attributes:
        split: `train`, `validation` or `test`.
        members: Retailer to metric to number.
        overall: Metric to number over all retailers' cases.
    """

    split: str
    members: dict[str, Numbers]
    overall: Numbers


def evaluate(path: Path, split: Split = "test") -> Evaluation:
    """Rebuild the members of a finished run and score its best round, without writing anything.

    Raises:
        RunDirectoryError: If it is not a finished run, or a file of it is damaged.
        InputError: If the split does not exist, or the data are missing.
    """
    if split not in ("train", "validation", "test"):
        raise InputError(f"no split '{split}'; there are train, validation and test")
    directory, result = _finished(path)
    torch.set_num_threads(1)
    config = _for_scoring(directory.config)
    prepared = replace(prepare(config.model_copy(update={"start": None})), config=config)
    check_run(directory.path, prepared.digests)
    shared = _released(directory, prepared)
    consortium, identities = resident_consortium(prepared, directory)
    specs = member_specs(prepared, directory, consortium, identities)
    with InProcess(observed(specs, identities)) as transport:
        members = tuple(member.name for member in result.members)
        exchange = Exchange(transport)
        exchange.ask_all(members, m.Restore(round=result.rounds), m.Done)
        request = m.ObserveModel(shared=m.pack_vector(shared), split=split, local="kept")
        tallies = scores_of(exchange, members, request)
    scores = {name: tally.values() for name, tally in tallies.items()}
    return Evaluation(split, scores, total(tallies.values()).values())


def _finished(path: Path) -> tuple[RunDirectory, RunResult]:
    """Return the directory of a finished run, and its result."""
    if (path / REPEAT).exists():
        raise RunDirectoryError(f"{path} holds several runs; name one of its seed-* directories")
    directory = RunDirectory.open(path)
    result = directory.result()
    if result is None:
        raise RunDirectoryError(f"{path} has not ended; go on with: securefl run --resume {path}")
    return directory, result


def _for_scoring(config: RunConfig) -> RunConfig:
    """Return the configuration without what only training needs: a GPU, a warm start."""
    engine = config.engine.model_copy(update={"device": "cpu"})
    return config.model_copy(update={"engine": engine, "warm_start": None})


def _released(directory: RunDirectory, prepared: Prepared) -> FloatVector:
    """Return the shared model of the best round, float32 [d]."""
    tensors, _ = read_tensors(directory.model_path)
    try:
        model = prepared.task.model(prepared.facts, 0)
        return joined_shared(model, tensors)
    except ValueError as error:
        raise RunDirectoryError(f"{directory.model_path} does not match its run: {error}") from None
