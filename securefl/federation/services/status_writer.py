"""The writing of a status file: by a thread of its own, whatever the rest of the process does."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from securefl.errors import RunDirectoryError, StorageFullError
from securefl.federation.transport.faults import StandingFaults
from securefl.ml.tensor_io import write_atomically

_EVERY: Final = 2.0
_LEAST: Final = 0.5
_BLOCK: Final = 4096
_log = logging.getLogger(__name__)


class StatusWriter:
    """Writes a file at every change, at most twice a second, and every two seconds without one.

    So the age of the file shows that the process is alive. A frozen one writes nothing.

    Args:
        path: The file.
        tree: Returns its content.
        faults: Its changes are written at once.
    """

    def __init__(
        self, path: Path, tree: Callable[[], dict[str, Any]], faults: StandingFaults
    ) -> None:
        self._path, self._tree = path, tree
        self._changed, self._closed = threading.Event(), False
        self._lock = threading.Lock()
        faults.changed = self.changed
        self._thread = threading.Thread(target=self._for_good, name="status", daemon=True)

    def start(self) -> None:
        """Write the file, and go on writing it.

        Raises:
            RunDirectoryError: If it cannot be written; later failures stop nothing.
            StorageFullError: If the disk is full, and there is no earlier one.
        """
        self._write(time.time())
        self._thread.start()

    def changed(self) -> None:
        """Have the file written soon."""
        self._changed.set()

    def close(self) -> None:
        """Write it for the last time: whether the process goes on is then known."""
        self._closed = True
        self._changed.set()
        if self._thread.ident is not None:
            self._thread.join(10)
        self._try()

    def _for_good(self) -> None:
        while not self._closed:
            self._try()
            time.sleep(_LEAST)
            self._changed.wait(_EVERY - _LEAST)
            self._changed.clear()

    def _try(self) -> None:
        try:
            self._write(time.time())
        except RunDirectoryError as error:
            _log.warning("%s", error)

    def _write(self, now: float) -> None:
        with self._lock:
            tree = {"written": now, "ended": now if self._closed else None, **self._tree()}
            content = json.dumps(tree, indent=1).encode()
            # Whole blocks, of which one is spare: into these it can be written on a full disk too.
            padded = content.ljust((len(content) // _BLOCK + 2) * _BLOCK - 1) + b"\n"
            try:
                write_atomically(self._path, padded, private=True)
            except StorageFullError:
                if not self._path.exists():
                    raise
                self._write_in_place(content)

    def _write_in_place(self, content: bytes) -> None:
        """Write over the old content: on a full disk there is room for nothing else."""
        try:
            with self._path.open("r+b") as file:
                room = file.seek(0, 2)
                file.seek(0)
                if len(content) < room:
                    file.write(content.ljust(room - 1) + b"\n")
        except OSError as error:
            raise RunDirectoryError(f"cannot write {self._path}: {error.strerror}") from None
