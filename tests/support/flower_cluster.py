"""A real SuperLink and real SuperNodes on loopback, with telemetry off."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from support.brokers import free_port
from support.paths import ROOT

BIN = Path(sys.prefix) / "bin"
APP = ROOT / "examples" / "flower-app"


@dataclass
class Cluster:
    """The processes of Flower, each with a log of its own; one account for all of them."""

    folder: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)

    @property
    def environment(self):
        ours = {"FLWR_HOME": str(self.folder / "flwr"), "FLWR_TELEMETRY_ENABLED": "0"}
        ours |= {"FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05"}
        # Flower starts its programs by name.
        return os.environ | ours | {"PATH": f"{BIN}:{os.environ['PATH']}"}

    def begin(self, name, *words):
        log = self.stack.enter_context((self.folder / f"{name}.log").open("w"))
        process = subprocess.Popen(
            [str(word) for word in words], env=self.environment, stdout=log, stderr=log
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def open(self, sockets):
        """Start the SuperLink, and a SuperNode for each socket."""
        self.folder.mkdir()
        home = self.folder / "flwr"
        home.mkdir()
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
            f'address = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        self.begin(
            "superlink",
            *(BIN / "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", self.port),
            "--disable-runtime-dependency-installation",
        )
        self.wait("superlink", "Uvicorn running", "Application startup complete")
        for number, path in enumerate(sockets):
            self.begin(
                f"node-{number}",
                *(BIN / "flower-supernode", "--insecure", "--port", free_port()),
                *("--superlink", f"127.0.0.1:{self.port}"),
                *("--node-config", f'securefl-socket="{path}"'),
            )

    def wait(self, name, *words, seconds=120):
        until = time.monotonic() + seconds
        while not any(word in self.said(name) for word in words):
            assert time.monotonic() < until, self.said(name)[-3000:]
            time.sleep(0.1)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def run(self, config, app=APP):
        """Submit the app; its ServerApp reads the coordinator's file."""
        command = [str(BIN / "flwr"), "run", str(app), "here"]
        command += ["--run-config", f'securefl-config="{config}"']
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
