"""A run is bound to its data: going on, evaluating and starting warm compare what was read.

The digests of a member's tables stand in the member's own folder, as anybody who guesses the
tables could check the guess by them; those of the agreed tables stand in the run's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from securefl.data.digests import DataDigests
from securefl.errors import InputError, RunDirectoryError
from securefl.ml.tensor_io import read_tensors, write_atomically
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL

FILE = "data.json"
CATALOGUE = "catalogue"
"""The model's metadata entry with the digest of the products that its rows belong to."""


class DataChangedError(InputError):
    """The data are not those that a run began with; the text names what changed."""

    wire_name: ClassVar[str] = "DataChangedError"


def bind_run(folder: Path, digests: DataDigests) -> None:
    """Record which data a run reads, or compare them with what it read before.

    Args:
        folder: The run's directory; a member's own file lies in `members/NAME` of it.
        digests: What was read now.

    Raises:
        DataChangedError: If a table is another one than when the run began.
        RunDirectoryError: If a record is damaged or cannot be written.
    """
    check_run(folder, digests)
    for _, place, now in _records(folder, digests):
        _record(place / FILE, now)


def check_run(folder: Path, digests: DataDigests) -> None:
    """Compare the data with those that a run began with; see `bind_run`."""
    changed = [
        f"{whose}: {', '.join(tables)}"
        for whose, place, now in _records(folder, digests)
        if (tables := _changes(place / FILE, now))
    ]
    if changed:
        raise DataChangedError(
            f"the data changed since this run began ({'; '.join(changed)}): restore the files,"
            " or start a new run"
        )


def _records(folder: Path, digests: DataDigests) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """Yield whose tables, the folder of their record, and their digests now."""
    yield "the agreed data", folder, digests.agreed
    for name, tables in digests.members.items():
        yield name, folder / "members" / name, tables


def bind_member(folder: Path, tables: Mapping[str, str]) -> None:
    """Record which data a member of a run over a network reads, or compare; see `bind_run`."""
    changed = _changes(folder / FILE, tables)
    if changed:
        raise DataChangedError(
            f"this member's data changed since the run began ({', '.join(changed)}): restore the"
            " files, or take part in a new run"
        )
    _record(folder / FILE, tables)


def check_warm_start(model: str | None, agreed: Mapping[str, str]) -> None:
    """Refuse a model whose rows belong to other products, or that does not say to which.

    Args:
        model: File of an earlier run's shared model; None where the run starts from its seed.
        agreed: Digests of the agreed tables, hex.

    Raises:
        DataChangedError: If the catalogue has other products, labels or another order.
        InputError: If the file is none, or does not name its catalogue.
    """
    if model is None:
        return
    _, metadata = read_tensors(Path(model))
    known = metadata.get(CATALOGUE)
    if known is None:
        raise InputError(f"{model} does not say which catalogue it was trained on")
    if known != agreed["products"]:
        raise DataChangedError(
            f"{model} was trained on a catalogue with other products or another order: its rows"
            " would stand for other products"
        )


def _changes(path: Path, now: Mapping[str, str]) -> list[str]:
    """Return the names of tables that differ from a record; none where there is no record yet."""
    if not path.exists():
        return []
    before = read_json(path, SMALL, error=RunDirectoryError)
    if not isinstance(before, dict):
        raise RunDirectoryError(f"{path} is damaged: no digests of tables")
    return list(_differing(before, now))


def _differing(before: Mapping[str, object], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*before, *now}):
        if name not in now:
            yield f"{name} are missing"
        elif name not in before:
            yield f"{name} are new"
        elif before[name] != now[name]:
            yield f"{name} differ"


def _record(path: Path, now: Mapping[str, str]) -> None:
    if path.exists():
        return
    write_atomically(path, (json.dumps(dict(now), indent=1) + "\n").encode())
    path.chmod(0o600)
