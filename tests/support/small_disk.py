"""A file system of its own that is easily full; only where one can be mounted."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_FILLER = "filler"
_BLOCK = 4096


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int = 20) -> Iterator[None]:
    """Mount a small file system at a folder, which is made.

    Raises:
        Skipped: Where none can be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        yield
    finally:
        # Lazily: where a test failed, a broker may have files open there.
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    """Fill a small file system to its last block."""
    with contextlib.suppress(OSError), (folder / _FILLER).open("ab", buffering=0) as file:
        while True:
            file.write(bytes(_BLOCK))


def make_room(folder: Path) -> None:
    """Undo `fill`."""
    (folder / _FILLER).unlink(missing_ok=True)
