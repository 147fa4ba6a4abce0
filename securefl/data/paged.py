"""Columns that lie in files instead of memory, so that resident memory does not grow with lines.

The files have no name: no other program can open them, and they are gone with this process. An
array over one is an array like any other. What was read or written stays resident only until
`release`: from then on the system has it in its cache of files, which it takes back when it needs
the memory for something else.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, Any, Final, Self
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from securefl.errors import DataError, InputError

Arrays = dict[str, npt.NDArray[Any]]

BLOCK: Final = 1 << 20
"""Lines that are worked on at a time."""

_SMALL: Final = 1 << 20
"""Bytes of a column up to which a copy in memory is cheaper than a mapping."""

_MAPPED: Final[WeakSet[mmap.mmap]] = WeakSet()


def release() -> None:
    """Take the pages of all mapped files out of this process; none of their content is lost.

    Whoever passes over a column calls this after each block of it.
    """
    for mapped in list(_MAPPED):
        mapped.madvise(mmap.MADV_DONTNEED)


def blocks(lines: int, size: int = BLOCK) -> Iterator[slice]:
    """Yield the spans of so many lines, in order, and release what was read after each."""
    for begin in range(0, lines, size):
        yield slice(begin, min(begin + size, lines))
        if lines > size:
            release()


def mapped_file(file: IO[bytes], size: int, *, writable: bool = False) -> mmap.mmap:
    """Return the content of a file as memory that `release` takes back.

    Args:
        file: A file, which may be closed afterwards.
        size: Its bytes, above 0.
        writable: Whether what is written to the memory goes to the file.
    """
    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    mapped = mmap.mmap(file.fileno(), size, access=access)
    _MAPPED.add(mapped)
    return mapped


def blank(lines: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return zeros [lines] that can be written.

    Raises:
        InputError: There is no room for the file.
    """
    size = lines * np.dtype(dtype).itemsize
    if size <= _SMALL:
        return np.zeros(lines, dtype=dtype)
    with _room(), _unnamed() as file:
        if hasattr(os, "posix_fallocate"):
            # A hole in a file would end the process by a signal once the disk is full.
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return np.frombuffer(mapped_file(file, size, writable=True), dtype=dtype)


class Spool:
    """A table that grows part by part; each column is as wide as the widest of its parts.

    Args:
        types: Names and types of columns that are there even if no line is.
    """

    def __init__(self, types: Mapping[str, npt.DTypeLike] = MappingProxyType({})) -> None:
        self._types = {name: np.dtype(kind) for name, kind in types.items()}
        self._files = {name: _unnamed() for name in self._types}
        self._lines = 0

    def __len__(self) -> int:
        return self._lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files, self._lines = {}, 0

    def append(self, part: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add lines, which are copied.

        Raises:
            DataError: The columns are not those of the earlier parts.
            InputError: There is no room for the file.
        """
        lines = len(next(iter(part.values())))
        if not lines:
            return
        if self._files and part.keys() != self._files.keys():
            raise DataError("files of one member have different columns")
        with _room():
            for name, column in part.items():
                self._add(name, column)
        self._lines += lines

    def _add(self, name: str, column: npt.NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name], self._types[name] = _unnamed(), column.dtype
        wide = np.promote_types(self._types[name], column.dtype)
        if wide != self._types[name]:
            self._widen(name, wide)
        self._files[name].write(_bytes(np.ascontiguousarray(column, dtype=wide)))

    def _widen(self, name: str, wide: np.dtype[Any]) -> None:
        narrow, self._files[name] = self._files[name], _unnamed()
        narrow.seek(0)
        for span in blocks(self._lines):
            content = narrow.read((span.stop - span.start) * self._types[name].itemsize)
            column = np.frombuffer(content, dtype=self._types[name])
            self._files[name].write(_bytes(column.astype(wide)))
        self._types[name] = wide
        narrow.close()

    def truncate(self, lines: int) -> None:
        """Forget all lines after the first so many."""
        for name, file in self._files.items():
            file.truncate(lines * self._types[name].itemsize)
            file.seek(0, os.SEEK_END)
        self._lines = lines

    def rows(self, span: slice) -> Arrays:
        """Return a copy of some lines."""
        found: Arrays = {}
        for name, file in self._files.items():
            width = self._types[name].itemsize
            file.seek(span.start * width)
            found[name] = np.frombuffer(
                bytearray(file.read((span.stop - span.start) * width)), dtype=self._types[name]
            )
            file.seek(0, os.SEEK_END)
        return found

    def columns(self) -> Arrays:
        """Return all lines, one array [n] a column, which can be written; the spool is empty then.

        Raises:
            InputError: There is no room for the file.
        """
        with _room():
            found = {name: self._column(name) for name in self._files}
        self._close()
        return found

    def _column(self, name: str) -> npt.NDArray[Any]:
        file, dtype = self._files[name], self._types[name]
        size = self._lines * dtype.itemsize
        if size <= _SMALL:
            return self.rows(slice(0, self._lines))[name]
        file.flush()
        return np.frombuffer(mapped_file(file, size, writable=True), dtype=dtype)


def _bytes(column: npt.NDArray[Any]) -> memoryview:
    return column.view(np.uint8).data


def _unnamed() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="securefl-")


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        folder = tempfile.gettempdir()
        raise InputError(
            f"{folder}: no room for prepared lines ({problem.strerror}); about 70 bytes a line are"
            " needed, and TMPDIR says where"
        ) from problem
