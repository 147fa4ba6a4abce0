"""A run under several seeds: one sub-directory a seed, then mean and spread over them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import tomli_w

from securefl.config.load import validate
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.errors import ConfigError, InputError, RunDirectoryError
from securefl.federation.runs.directory import CONFIG, REPEAT, RunDirectory, make_empty
from securefl.federation.runs.privacy_summary import composed_privacy
from securefl.federation.runs.progress import Progress, Silent
from securefl.federation.runs.result import MemberResult, Numbers, RunResult, json_ready
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import write_atomically
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.statement import RunPrivacy
from securefl.untrusted.documents import read_toml


@dataclass(frozen=True)
class RepeatResult:
    """Several runs that differ in the seed alone.

    The fields of `RunResult` mean the same here, with means over the runs in `metrics` and in the
    members' metrics, and the sum of their times in `seconds`.

    Attributes:
        seed: The first seed; the others follow it.
        best_round: None: every run has its own.
        spread: Sample standard deviation over the runs (n - 1), in the shape of `metrics`.
        runs: The single results, by ascending seed.
    """

    task: str
    mode: str
    seed: int
    rounds: int
    best_round: None
    members: tuple[MemberResult, ...]
    seconds: float
    metrics: dict[str, Numbers]
    spread: dict[str, Numbers]
    privacy: RunPrivacy | None
    run_dir: str
    runs: tuple[RunResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a metric without a case is null."""
        plain: dict[str, Any] = json_ready(asdict(self))
        return plain


@dataclass(frozen=True)
class RepeatDirectory:
    """A directory with one run directory a seed.

    Attributes:
        path: The directory.
        config: The configuration, with the first seed.
        repeats: Number of seeds.
        places: Paths of the members' ledgers and policies.
    """

    path: Path
    config: RunConfig
    repeats: int
    places: LedgerPaths

    @classmethod
    def create(
        cls, path: Path, config: RunConfig, repeats: int, places: LedgerPaths | None = None
    ) -> RepeatDirectory:
        """Return a new directory, with the configuration of its runs in it.

        Args:
            path: The new directory.
            config: The configuration, with the first seed.
            repeats: Number of seeds.
            places: Paths of the members' ledgers and policies; the default ones if not given.

        Raises:
            InputError: If `repeats` is less than 1.
            RunDirectoryError: If it exists and is not empty, or it cannot be written.
        """
        if repeats < 1:
            raise InputError(f"a run cannot be repeated {repeats} times")
        found = places or LedgerPaths.usual()
        found.check()
        make_empty(path)
        found.write(path)
        tree = config.model_dump(mode="json", exclude_none=True)
        content = tomli_w.dumps({"repeats": repeats, "config": tree})
        write_atomically(path / REPEAT, content.encode())
        return cls(path, config, repeats, found)

    @classmethod
    def open(cls, path: Path) -> RepeatDirectory:
        """Return the directory of a repeated run that was begun.

        Raises:
            RunDirectoryError: If it is not one, or is damaged.
        """
        file = path / REPEAT
        try:
            tree = read_toml(file, error=RunDirectoryError)
            config = validate(tree["config"], str(file))
            return cls(path, config, int(tree["repeats"]), LedgerPaths.read(path))
        except (ValueError, KeyError, TypeError):
            raise RunDirectoryError(f"{file} is damaged") from None
        except ConfigError as error:
            raise RunDirectoryError(str(error)) from None

    def runs(self) -> Iterator[RunDirectory]:
        """Yield each seed's run directory, created where it does not exist yet."""
        for seed in range(self.config.seed, self.config.seed + self.repeats):
            path = self.path / f"seed-{seed}"
            if (path / CONFIG).exists():
                yield RunDirectory.open(path)
            else:
                config = self.config.model_copy(update={"seed": seed})
                yield RunDirectory.create(path, config, self.places)


def run_repeated(directory: RepeatDirectory, progress: Progress | None = None) -> RepeatResult:
    """Run what is left of a repeated run; results of finished runs are read.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    watch = progress or Silent()
    results = []
    for number, single in enumerate(directory.runs(), start=1):
        watch.stage(f"Run {number} of {directory.repeats}, seed {single.config.seed}")
        results.append(run(single, watch))
    result = summarise_runs(results, directory.path, _ballots(directory.config))
    text = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
    write_atomically(directory.path / "result.json", text.encode())
    return result


def resume(path: Path, progress: Progress | None = None) -> RunResult | RepeatResult:
    """Resume the run of a directory, a single or a repeated one.

    Raises:
        RunDirectoryError: If the directory has no run, or is damaged.
    """
    if (path / REPEAT).exists():
        return run_repeated(RepeatDirectory.open(path), progress)
    return run(RunDirectory.open(path), progress)


def _ballots(config: RunConfig) -> SampledGaussian | None:
    """Return what all ballots of one run are charged as; None where they cost nothing."""
    if config.vote is None:
        return None
    # Opacus takes seconds to import, and only ballots need it.
    from securefl.privacy.vote_plan import vote_event

    return vote_event(config)


def summarise_runs(
    results: Sequence[RunResult], path: Path, ballots: SampledGaussian | None = None
) -> RepeatResult:
    """Return mean and spread over the results of one configuration under several seeds.

    Args:
        results: One of each seed.
        path: The directory of all.
        ballots: See `composed_privacy`.
    """
    first = results[0]
    return RepeatResult(
        task=first.task,
        mode=first.mode,
        seed=first.seed,
        rounds=first.rounds,
        best_round=None,
        members=_mean_members(results),
        seconds=sum(result.seconds for result in results),
        metrics=_over([result.metrics for result in results], fmean),
        spread=_over([result.metrics for result in results], sample_deviation),
        privacy=composed_privacy([result.privacy for result in results if result.privacy], ballots),
        run_dir=str(path),
        runs=tuple(results),
    )


def sample_deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation (n - 1); NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _mean_members(results: Sequence[RunResult]) -> tuple[MemberResult, ...]:
    columns = zip(*(result.members for result in results), strict=True)
    return tuple(
        MemberResult(
            name=same[0].name,
            samples=same[0].samples,
            metrics=_over([member.metrics for member in same], fmean),
        )
        for same in columns
    )


def _over(
    tables: Sequence[dict[str, Numbers]], statistic: Callable[[Sequence[float]], float]
) -> dict[str, Numbers]:
    """Return one statistic over the tables, for each arm and metric."""
    return {
        arm: {metric: statistic([table[arm][metric] for table in tables]) for metric in numbers}
        for arm, numbers in tables[0].items()
    }
