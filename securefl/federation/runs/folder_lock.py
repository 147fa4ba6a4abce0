"""The lock of a folder: one process at a time writes in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from securefl.errors import RunDirectoryError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; the lock ends with the process, however it ends.

    Raises:
        RunDirectoryError: If another process has the lock, or it cannot be written.
    """
    with _lock_file(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunDirectoryError(f"{folder} is in use by another process") from None
        yield


def _lock_file(folder: Path) -> TextIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not through a link, which would create or empty what it names; and its owner's alone, or
        # another user of the machine could take the lock.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        return os.fdopen(os.open(folder / LOCK, flags, 0o600), "r+")
    except OSError as error:
        raise RunDirectoryError(f"cannot write {folder}: {error.strerror}") from None
