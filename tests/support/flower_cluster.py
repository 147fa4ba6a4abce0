"""A SuperLink, SuperNodes and members on loopback: the commands of the page, without TLS."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from support.brokers import free_port
from support.flower_grid import SECRET, blocks
from support.flower_probe import APP
from support.paths import ROOT

BIN = Path(sys.prefix) / "bin"
CERTIFICATES = {"--ssl-certfile", "--ssl-keyfile", "--ssl-ca-certfile", "--root-certificates"}


def shown(begins, **replaced):
    """The words of a command of the page; certificates and addresses are those of the test."""
    text = "".join(blocks("sh")).replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith(begins)]
    words = shlex.split(line)
    for option in CERTIFICATES & set(words):
        place = words.index(option)
        del words[place : place + 2]
    for option, value in replaced.items():
        name = f"--{option.replace('_', '-')}"
        words[words.index(name) + 1] = str(value)
    return words


def _end(process):
    """Kill a process with all that it started: a ServerApp would go on without its SuperLink."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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

    def begin(self, name, *words, **environment):
        log = self.stack.enter_context((self.folder / f"{name}.log").open("w"))
        process = subprocess.Popen(
            [str(word) for word in words],
            env=self.environment | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.stack.callback(_end, process)
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
        _, *options = shown("flower-superlink")
        place = ("--insecure", "--host", "127.0.0.1", "--port", self.port)
        self.begin("superlink", BIN / "flower-superlink", *options, *place)
        self.wait("superlink", "Uvicorn running", "Application startup complete")
        address = f"127.0.0.1:{self.port}"
        for number, path in enumerate(sockets):
            config = f'securefl-socket="{path}"'
            _, *options = shown("flower-supernode", superlink=address, node_config=config)
            place = ("--insecure", "--port", free_port())
            self.begin(f"node-{number}", BIN / "flower-supernode", *options, *place)

    def member(self, group, name):
        """Start a member by the command of the page; its passphrase comes from the environment."""
        own = group.folder / name
        files = {"key": group.folder / f"{name}.key", "facts": group.folder / "agreed.facts"}
        words = shown(
            "securefl member", **files, data=own, state=own / "state", flower=group.socket(name)
        )
        words[2] = group.folder / "agreement.toml"
        secret = {"SECUREFL_PASSPHRASE": SECRET.decode(), "SECUREFL_HOME": str(own)}
        return self.begin(name, sys.executable, "-m", *words, **secret)

    def wait(self, name, *words, seconds=120):
        until = time.monotonic() + seconds
        while not any(word in self.said(name) for word in words):
            assert time.monotonic() < until, self.said(name)[-3000:]
            time.sleep(0.1)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def run(self, config):
        """Submit the app; its ServerApp reads the coordinator's file."""
        _, _, shipped, *words = shown("flwr run", run_config=f'securefl-config="{config}"')
        self._submit(ROOT / shipped, *words)

    def round_trips(self, nodes, turns, ahead=0):
        """Seconds that messages with nothing in them take, to so many nodes and back."""
        app, found = self.folder / "probe", self.folder / f"probe-{ahead}.json"
        found.unlink(missing_ok=True)
        app.mkdir(exist_ok=True)
        (app / "pyproject.toml").write_text(APP)
        options = f'file="{found}" nodes={nodes} turns={turns} ahead={ahead}'
        self._submit(app, "here", "--run-config", options)
        until = time.monotonic() + 60 + 60 * turns
        while not found.exists() or not found.read_text():
            assert time.monotonic() < until, self.said("superlink")[-3000:]
            time.sleep(0.1)
        return json.loads(found.read_text())

    def _submit(self, app, *words):
        done = subprocess.run(
            [str(BIN / "flwr"), "run", str(app), *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
