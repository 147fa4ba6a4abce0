"""The lock of a folder: one process at a time writes in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from securefl.errors import RunDirectoryError, disk_error

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; the lock ends with the process, however it ends.

    Raises:
        RunDirectoryError: If another process has the lock, or it cannot be written; see
            `disk_error`.
    """
    lock = _acquired(folder)
    try:
        yield
    finally:
        lock.release()


def _acquired(folder: Path) -> FileLock:
    # Without the fallback, a file system that has no locks is an error: a lock that is only a file
    # would outlive a process that is killed.
    # It follows no link, which would empty what it names, and is its owner's alone, or another user
    # of the machine could take it.
    lock = FileLock(folder / LOCK, timeout=0, mode=0o600, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunDirectoryError(f"{folder} is in use by another process") from None
    except NotImplementedError:
        raise RunDirectoryError(f"{folder} is on a file system without locks") from None
    except OSError as error:
        raise disk_error(folder, error) from None
    return lock
