"""A local NATS broker for trials and tests, from the `nats-server` of a package or the system."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Self

from securefl.errors import needs_extra
from securefl.federation.transport.base import EngineError

_START_SECONDS = 10.0


def broker_program() -> str:
    """Return the `nats-server` to start.

    Raises:
        InputError: If there is none.
    """
    scripts = sysconfig.get_path("scripts")
    program = shutil.which("nats-server", path=scripts) or shutil.which("nats-server")
    if program is None:
        raise needs_extra("nats_server", "a broker on this machine")
    return program


class Broker:
    """A broker process, which ends with its `with` block."""

    def __init__(self, configuration: Path, port: int) -> None:
        """Start it and wait until it listens.

        Args:
            configuration: The server's configuration file.
            port: Its port.

        Raises:
            EngineError: If it ends at once, or does not listen in time.
        """
        self._configuration, self._port = configuration, port
        self._log = configuration.with_suffix(".log")
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [broker_program(), "-c", str(self._configuration)]
        with self._log.open("ab") as log:
            # Not ours: a passphrase in it would be readable in another process.
            environment = {"PATH": os.environ.get("PATH", os.defpath)}
            process = subprocess.Popen(  # noqa: S603 - our own
                command, stdout=log, stderr=log, env=environment
            )
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), timeout=1),
            ):
                return process
            time.sleep(0.02)
        process.kill()
        process.wait()
        raise EngineError(f"the broker did not start; see {self._log}")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would end it."""
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """Start it again on its stored messages."""
        self._process = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
