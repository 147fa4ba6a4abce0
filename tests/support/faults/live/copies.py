"""Copies of the folders of processes that go on writing."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


def copy_living(folder: Path, copy: Path) -> None:
    """Copy a folder as it is while a process writes into it; what is gone meanwhile is left out.

    `shutil.copytree` raises for each file that was deleted since it listed them.
    """
    copy.mkdir(parents=True, exist_ok=True)
    for path in list(folder.iterdir()):
        if path.is_dir():
            copy_living(path, copy / path.name)
        else:
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(path, copy / path.name)
