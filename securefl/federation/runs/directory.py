"""A run directory: resolved config, metrics as rounds end, checkpoints, model, result."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from securefl.config.load import dump_toml, read_dumped
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.paths import FILE as PLACES
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.errors import InputError, RunDirectoryError, disk_error
from securefl.federation.aggregation.sum_figures import SumFigures
from securefl.federation.coordinator.rounds import RoundRecord, RoundState
from securefl.federation.runs.checkpoint import read_checkpoint, write_checkpoint
from securefl.federation.runs.folder_lock import LOCK, locked
from securefl.federation.runs.result import RunResult, json_ready, result_from_json
from securefl.federation.scores.ballots import Vote
from securefl.ml.tensor_io import write_atomically
from securefl.ml.vectors import FloatVector
from securefl.untrusted.documents import parse_json
from securefl.untrusted.files import MEBIBYTE, SMALL, read_bytes, read_text

_LARGEST = 256 * MEBIBYTE


def default_path(config: RunConfig, kind: str, now: datetime | None = None) -> Path:
    """Return `runs/<task>-<kind>-seed<seed>-<UTC time>`, below the working directory.

    A second run of the same second gets a number appended.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    name = f"{config.task}-{kind}-seed{config.seed}-{moment:%Y%m%dT%H%M%SZ}"
    numbered = (Path("runs") / f"{name}-{number}" for number in count(2))
    return next(path for path in chain([Path("runs") / name], numbered) if not path.exists())


CONFIG = "config.toml"
MODEL = "model.safetensors"


REPEAT = "repeat.toml"
"""Marks the directory of a repeated run, as `CONFIG` marks that of a single one."""


def make_empty(path: Path) -> None:
    """Create an empty directory.

    Raises:
        RunDirectoryError: If it exists and is not empty, or it cannot be written.
    """
    try:
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
        if not taken:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {path}: {error.strerror}") from None
    if taken:
        begun = (path / CONFIG).exists() or (path / REPEAT).exists()
        hint = f"; go on with --resume {path}" if begun else ""
        raise RunDirectoryError(f"{path} exists and is not empty{hint}")


class RunDirectory:
    """The files of one run, which no other run overwrites."""

    def __init__(self, path: Path, config: RunConfig, places: LedgerPaths | None = None) -> None:
        self.path = path
        self.config = config
        self.places = places or LedgerPaths.usual()

    @classmethod
    def create(
        cls, path: Path, config: RunConfig, places: LedgerPaths | None = None
    ) -> RunDirectory:
        """Return a new directory with the resolved configuration in it.

        Args:
            path: The new directory.
            config: The run's configuration.
            places: Paths of the members' ledgers and policies; the default ones if not given.

        Raises:
            RunDirectoryError: If it exists and is not empty, or it cannot be written.
            ConfigError: If there is no such policy.
        """
        directory = cls(path, config, places)
        directory.places.check()
        make_empty(path)
        directory.places.write(path)
        write_atomically(path / CONFIG, dump_toml(config).encode())
        return directory

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Return the directory of a run that was begun.

        Raises:
            RunDirectoryError: If it is none.
            ConfigError: If its configuration is damaged.
        """
        if not (path / CONFIG).is_file():
            raise RunDirectoryError(f"{path} is no run directory: it has no {CONFIG}")
        return cls(path, read_dumped(path / CONFIG), LedgerPaths.read(path))

    def discard_unstarted(self) -> None:
        """Remove the directory of a run that could not begin: it holds what was written at once.

        The next try then needs no other name, and no run is listed that never was.
        """
        begun = {CONFIG, PLACES}
        if {entry.name for entry in self.path.iterdir()} - {LOCK} != begun:
            return
        for name in (*begun, LOCK):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out for as long as this run writes.

        Raises:
            RunDirectoryError: If another process has the lock, or it cannot be written.
        """
        with locked(self.path):
            yield

    @property
    def model_path(self) -> Path:
        """The released shared model."""
        return self.path / MODEL

    @property
    def ledger_path(self) -> Path:
        """The coordinator's log of all members' entries."""
        return self.path / "ledger.sqlite"

    @property
    def transcripts(self) -> Path:
        """The folder of the masked sums' transcripts."""
        return self.path / "transcripts"

    @property
    def start_path(self) -> Path:
        """The shared model before the first round, little-endian float32."""
        return self.path / "start.f32"

    @property
    def tries_path(self) -> Path:
        """What a simulation's coordinator has to remember of the tries of the newest round."""
        return self.path / "tries.json"

    def member_path(self, name: str) -> Path:
        """Return a member's own folder."""
        return self.path / "members" / name

    def keep_start(self, shared: FloatVector) -> None:
        """Keep the model before the first round, from which an auditor recomputes the others."""
        if not self.start_path.exists():
            write_atomically(self.start_path, shared.astype("<f4", copy=False).tobytes())

    def save_round(self, record: RoundRecord, state: RoundState) -> None:
        """Make a round durable; the members' states are durable already."""
        # The metrics line first: `restore` cuts off a line without a checkpoint, while nothing
        # could reconstruct a line that a checkpoint lacks, and the ledger is concluded from it.
        try:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(_line(record))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise disk_error(self._metrics, error) from None
        write_checkpoint(self._checkpoint, state, self._digest())

    def restore(self, state: RoundState) -> None:
        """Bring a fresh state to the last checkpoint, if there is one.

        A metrics line that has no checkpoint is cut off: its round will be run again.

        Raises:
            RunDirectoryError: If the checkpoint is damaged or of another configuration.
        """
        if self._checkpoint.exists():
            read_checkpoint(self._checkpoint, state, self._digest())
        ended = zip(self._lines(), self._fields(), strict=True)
        kept = [line for line, fields in ended if fields["round"] <= state.round]
        write_atomically(self._metrics, "".join(kept).encode())

    def records(self) -> list[RoundRecord]:
        """Return the rounds that have ended.

        Raises:
            RunDirectoryError: If their file is damaged.
        """
        return [_round_record(fields) for fields in self._fields()]

    def save_result(self, result: RunResult) -> None:
        """Write the closing result."""
        text = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / "result.json", text.encode())

    def result(self) -> RunResult | None:
        """Return the closing result, if the run has ended.

        Raises:
            RunDirectoryError: If it is damaged.
        """
        path = self.path / "result.json"
        if not path.exists():
            return None
        return result_from_json(read_text(path, _LARGEST, error=RunDirectoryError), path)

    @property
    def _checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def _lines(self) -> list[str]:
        """Return the complete lines; a kill may have left half of the last one."""
        if not self._metrics.exists():
            return []
        text = read_text(self._metrics, _LARGEST, error=RunDirectoryError)
        lines = text.splitlines(keepends=True)
        return [line for line in lines if line.endswith("\n")]

    def _fields(self) -> list[dict[str, Any]]:
        names = {field.name for field in dataclass_fields(RoundRecord)}
        try:
            records = [parse_json(line, str(self._metrics)) for line in self._lines()]
        except InputError:
            raise RunDirectoryError(f"{self._metrics} is damaged: a line is no JSON") from None
        if any(not isinstance(record, dict) or record.keys() != names for record in records):
            raise RunDirectoryError(f"{self._metrics} is damaged: a line is no round")
        return records

    def _digest(self) -> str:
        return hashlib.sha256(
            read_bytes(self.path / CONFIG, SMALL, error=RunDirectoryError)
        ).hexdigest()


_UNBOUNDED = "unbounded"
"""An infinite epsilon in a line, where null says that there is none to state."""


def _line(record: RoundRecord) -> str:
    """Return a round as a line of JSON, which has no NaN and no infinity."""
    fields = asdict(record)
    if record.customer_epsilon == math.inf:
        fields["customer_epsilon"] = _UNBOUNDED
    return json.dumps(json_ready(fields), allow_nan=False) + "\n"


def _round_record(fields: dict[str, Any]) -> RoundRecord:
    """Return a round from its line, in which null stands for a number that JSON does not have."""
    names = {key: tuple(fields[key]) for key in ("cohort", "survivors")}
    loss = math.nan if fields["loss"] is None else fields["loss"]
    validation = {
        name: math.nan if value is None else value for name, value in fields["validation"].items()
    }
    numbers: dict[str, Any] = {"loss": loss, "validation": validation}
    if fields["customer_epsilon"] == _UNBOUNDED:
        numbers["customer_epsilon"] = math.inf
    found = fields["sum"]
    numbers["sum"] = None if found is None else SumFigures.from_json(found)
    numbers["unusual"] = tuple(fields["unusual"])
    vote = fields["vote"]
    numbers["vote"] = None if vote is None else Vote(**vote | {"absent": tuple(vote["absent"])})
    return RoundRecord(**(fields | names | numbers))
