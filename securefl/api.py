"""The public Python API: configure, load, run, evaluate; python-api.md has an example.

`securefl` re-exports all of it.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from securefl.config.load import load_config
from securefl.config.overrides import options_tree
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.data.sources.registry import load as load_source
from securefl.data.tables import RetailData
from securefl.federation.runs.directory import RunDirectory, default_path
from securefl.federation.runs.evaluate import Evaluation
from securefl.federation.runs.evaluate import evaluate as evaluate_run
from securefl.federation.runs.progress import Progress
from securefl.federation.runs.repeat import RepeatDirectory, RepeatResult, run_repeated
from securefl.federation.runs.repeat import resume as resume_run
from securefl.federation.runs.result import RunResult
from securefl.federation.runs.run import run as run_directory
from securefl.ml.metrics.spec import Split
from securefl.tasks.registry import check_model
from securefl.tasks.served.model import Model, open_model
from securefl.tasks.served.starting import started_from

__all__ = [
    "Evaluation",
    "Model",
    "RepeatResult",
    "RunConfig",
    "RunResult",
    "configure",
    "evaluate",
    "load",
    "open_model",
    "repeat",
    "resume",
    "run",
]

AnyPath = str | PathLike[str]


def configure(
    config: AnyPath | None = None,
    *,
    earlier: AnyPath | None = None,
    **options: Any,  # noqa: ANN401 - validated as a configuration
) -> RunConfig:
    """Return the settings of a run.

    Args:
        config: A TOML file, or None for the defaults of task and source.
        earlier: A run, or the folder of a model, that training goes on from (`--from`).
        **options: Overrides of it, named as on the command line (`task`, `data`, `model`,
            `mode`, `rounds`, `seed`, `device`, `workers`, `references`), or a whole section of a
            file as a dictionary: `training={"batch_size": 64}`.

    Raises:
        ConfigError: If a name is unknown or a value is not allowed.
        InputError: If there is no such earlier model, or it is of another kind.
    """
    resolved = load_config(Path(config) if config is not None else None, options_tree(**options))
    check_model(resolved)
    return resolved if earlier is None else started_from(resolved, Path(earlier))


def load(config: RunConfig) -> RetailData:
    """Return the validated tables of all retailers, as a simulation on one machine reads them.

    Raises:
        InputError: If a file or a package is missing, or a table breaks the schema.
    """
    return load_source(config.data)


def run(
    config: RunConfig,
    out: AnyPath | None = None,
    progress: Progress | None = None,
    *,
    book: AnyPath | None = None,
    policy: AnyPath | None = None,
) -> RunResult:
    """Train one model over all retailers.

    Args:
        config: The settings.
        out: A new directory for the run; one below `runs/` if not given.
        progress: Receives the progress of the run.
        book: Folder of the retailers' privacy ledgers, which outlive runs;
            docs/explanation/ledger.md names the default.
        policy: A policy for all retailers, or a folder with one `<retailer>.toml` each.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    places = _places(book, policy)
    return run_directory(RunDirectory.create(_place(out, config), config, places), progress)


def repeat(
    config: RunConfig,
    repeats: int,
    out: AnyPath | None = None,
    progress: Progress | None = None,
    *,
    book: AnyPath | None = None,
    policy: AnyPath | None = None,
) -> RepeatResult:
    """Run under `repeats` consecutive seeds, and return each result with mean and spread.

    The first seed is the configuration's. All runs train on the same data, so their privacy budgets
    compose.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    places = _places(book, policy)
    directory = RepeatDirectory.create(_place(out, config), config, repeats, places)
    return run_repeated(directory, progress)


def resume(run_dir: AnyPath, progress: Progress | None = None) -> RunResult | RepeatResult:
    """Resume an interrupted run; the result is the same as without the interruption.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    return resume_run(Path(run_dir), progress)


def evaluate(run_dir: AnyPath, split: Split = "test") -> Evaluation:
    """Score the model of a finished run again, by retailer.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    return evaluate_run(Path(run_dir), split)


def _places(book: AnyPath | None, policy: AnyPath | None) -> LedgerPaths:
    books = None if book is None else Path(book)
    return LedgerPaths.usual(books, None if policy is None else Path(policy))


def _place(out: AnyPath | None, config: RunConfig) -> Path:
    return Path(out) if out is not None else default_path(config, config.mode)
