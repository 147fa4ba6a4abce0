"""Which files a table consists of, and none of them left out without a word."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from securefl.errors import DataError, InputError
from securefl.untrusted.files import check_regular

Kind = Literal["csv", "parquet", "json", "excel"]

KINDS: Final[dict[str, Kind]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".xlsx": "excel",
    ".xlsm": "excel",
}
"""What a file is, by the end of its name in any case."""

COMPRESSED: Final = {".gz": "gzip", ".zst": "zstd", ".zip": "zip"}
SUFFIXES: Final = (*KINDS, *COMPRESSED)
_MOST: Final = 100_000
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class TableFile:
    """One file of a table.

    Attributes:
        path: Where it lies.
        kind: What it is.
        compression: `gzip`, `zstd`, or `zip`; None for a file that is none of these.
    """

    path: Path
    kind: Kind
    compression: str | None = None

    @property
    def label(self) -> str:
        """What the file is called in an error."""
        return str(self.path)


def table_files(path: Path) -> tuple[TableFile, ...]:
    """Return the file itself, or all files of a folder, its folders and a pattern, by name.

    Hidden files and those that begin with `_` or end with `~` belong to other programs and are
    left out; every other file is a table or refused.

    Raises:
        InputError: There is nothing at `path`, no table in it, or a file of another type.
    """
    found = sorted(_matching(path) if _is_pattern(path) else _below(path))
    if not found:
        raise InputError(f"{path}: no CSV or Parquet file in this folder")
    if len(found) > _MOST:
        raise InputError(f"{path}: more than {_MOST:,} files")
    return tuple(_table_file(file) for file in found)


def _is_pattern(path: Path) -> bool:
    return not path.exists() and any(mark in str(path) for mark in "*?[")


def _matching(path: Path) -> Iterator[Path]:
    """Yield the files of a pattern, and those below a folder that it names."""
    parts = path.parts
    first = next(n for n, part in enumerate(parts) if any(mark in part for mark in "*?["))
    matches = list(Path(*parts[:first]).glob("/".join(parts[first:])))
    if not matches:
        raise InputError(f"{path}: no such file")
    for match in matches:
        yield from _below(match)


def _below(path: Path) -> Iterator[Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_dir():
        yield path
        return
    for entry in path.iterdir():
        if entry.name.startswith((".", "_")) or entry.name.endswith(("~", "#")):
            continue
        if entry.is_symlink() and entry.is_dir():
            raise InputError(f"{entry}: a link to a folder; it could lead back here")
        yield from _below(entry)


def _table_file(path: Path) -> TableFile:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = COMPRESSED.get(suffixes[-1]) if suffixes else None
    if compression == "zip":
        check_regular(path)
        return TableFile(path, "csv", "zip")
    kept = suffixes[:-1] if compression else suffixes
    kind = KINDS.get(kept[-1]) if kept else None
    if kind is None or (compression and kind not in ("csv", "json")):
        raise InputError(
            f"{path}: neither .csv nor .parquet, nor {', '.join(SUFFIXES[1:])};"
            " move it away, or name the files by a pattern such as 'folder/*.csv'"
        )
    check_regular(path)
    return TableFile(path, kind, compression)


def unpacked(file: TableFile, folder: Path) -> tuple[TableFile, ...]:
    """Return a zip's members as files in `folder`, which is this user's alone.

    Raises:
        InputError: A member is no table.
        DataError: The archive is damaged, or grows beyond 200 times its size.
    """
    try:
        with zipfile.ZipFile(file.path) as archive:
            infos = [info for info in archive.infolist() if not _foreign(info)]
            limit = max(200 * file.path.stat().st_size, 64 << 20)
            if sum(info.file_size for info in infos) > limit:
                raise DataError(
                    f"{file.path}: cannot be read: it unpacks to over 200 times its size"
                )
            parts = [_unpack(archive, info, folder, number) for number, info in enumerate(infos)]
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as problem:
        raise DataError(f"{file.path}: cannot be read: {problem}") from problem
    if not parts:
        raise InputError(f"{file.path}: no CSV or Parquet file in this archive")
    return tuple(_Inside(part.path, part.kind, part.compression, file.path) for part in parts)


def _foreign(info: zipfile.ZipInfo) -> bool:
    last = info.filename.rstrip("/").rpartition("/")[2]
    return info.is_dir() or last.startswith((".", "_")) or info.filename.startswith("__MACOSX/")


def _unpack(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path, number: int
) -> TableFile:
    """Write one member under a name of our own: a name in an archive can lead anywhere."""
    inside = folder / f"{file_key(info.filename)}-{number}"
    inside.mkdir()
    path = inside / Path(info.filename).name
    with archive.open(info) as source, path.open("xb") as target:
        left = info.file_size
        while block := source.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise DataError(f"{info.filename}: larger than the archive says")
            target.write(block)
    part = _table_file(path)
    if part.compression == "zip":
        raise InputError(f"{path.name}: an archive within an archive")
    return part


def file_key(label: str) -> str:
    """Return 16 hexadecimal digits that stand for a name."""
    return hashlib.sha256(label.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True)
class _Inside(TableFile):
    """A file that was in an archive."""

    archive: Path = Path()

    @property
    def label(self) -> str:
        return f"{self.archive}:{self.path.name}"
