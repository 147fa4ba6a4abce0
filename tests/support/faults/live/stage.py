"""A consortium of real processes on a real broker, which can be killed, frozen and filled up."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np

from securefl.config.load import load_config
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.consortium.ledger.transparency_log import open_log
from securefl.federation.aggregation.session_parameters import encode_update, session_params
from securefl.federation.transport.nats.broker_config import write_broker_config
from securefl.federation.transport.nats.dev_broker import Broker
from support.brokers import free_port
from support.consortium_processes import Village, found
from support.faults.live.copies import copy_living
from support.faults.live.line import BadLine
from support.faults.live.processes import QUICK, live_coordinator, live_member
from support.faults.measures import descriptors, resident, size, stored
from support.faults.schedule import BROKER, HUB
from support.nats_cluster import PROCESSES, start_processes
from support.small_disk import fill, make_room, small_disk

_FULL = (1024, resource.RLIM_INFINITY)
_ROOM = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
_OVERTAKEN = "Nothing is answered from it. Without the folder the member goes on"


def live_config(members: int, rounds: int):
    """Return a small run with real training of so many retailers."""
    source = {"source": "tutorial", "retailers": members, "customers": 60, "items": 40}
    return load_config(
        None,
        {
            "task": "recommendation",
            "mode": "secure",
            "rounds": rounds,
            "data": source | {"interactions": [300, 600]},
            "model": {"name": "rating-ncf", "dim": 8, "hidden": 16},
            "references": {"enabled": False},
        },
    )


class LiveStage:
    """The processes of a run; all of them end with its `with` block.

    Args:
        folder: For all files.
        members: How many.
        rounds: How many.
        patience: How long the coordinator waits; see `TimeoutPolicy`.
        small_store: Whether the broker's store is a small file system, which can be full.
    """

    def __init__(
        self,
        folder: Path,
        members: int,
        rounds: int,
        patience: Mapping[str, float] = MappingProxyType(QUICK),
        *,
        small_store: bool = False,
    ) -> None:
        self.rounds, self._patience = rounds, dict(patience)
        names = tuple(f"retailer-{number}" for number in range(members))
        self.village: Village = found(folder, live_config(members, rounds), names)
        (folder / "notes").mkdir()
        self.processes: dict[str, BaseProcess] = {}
        self.others: list[BaseProcess] = []
        self._stack = ExitStack()
        self._checked: set[int] = set()
        self._aside: Counter[str] = Counter()
        self._small_store = small_store

    def __enter__(self) -> Self:
        start_processes()
        village, port = self.village, free_port()
        place = village.folder / "broker"
        if self._small_store:
            self._stack.enter_context(small_disk(self.store))
        signed = read_signed(village.agreement)
        file = write_broker_config(place, signed, village.folder, datetime.now(UTC))
        agreed, behind = f"0.0.0.0:{village.port}", f"127.0.0.1:{port}"
        text = file.read_text(encoding="utf-8")
        assert agreed in text
        file.write_text(text.replace(agreed, behind), encoding="utf-8")
        self.broker = self._stack.enter_context(Broker(file, port))
        self.line = self._stack.enter_context(BadLine(village.port, port))
        return self

    def __exit__(self, *details: object) -> None:
        del details
        for process in (*self.processes.values(), *self.others):
            process.kill()
        for process in (*self.processes.values(), *self.others):
            process.join()
        self._stack.close()

    @property
    def run(self) -> Path:
        """The coordinator's run directory."""
        return self.village.folder / "run"

    @property
    def store(self) -> Path:
        """The broker's store."""
        return self.village.folder / "broker" / "jetstream"

    def state(self, name: str) -> Path:
        """Return a member's state folder."""
        return self.village.folder / name / "state"

    def start(self, party: str) -> None:
        """Start a party, in the place of one that ended."""
        self.processes[party] = self._process(party)

    def start_second(self, party: str, folder: Path | None = None) -> BaseProcess:
        """Start another process of a party, on its folder or on another one."""
        process = self._process(party, folder)
        self.others.append(process)
        return process

    def _process(self, party: str, folder: Path | None = None) -> BaseProcess:
        details: tuple[object, ...]
        if party == HUB:
            target, details = live_coordinator, (self.village, folder or self.run, self._patience)
        else:
            target, details = live_member, (self.village, party, folder or self.state(party))
        process = PROCESSES.Process(target=target, args=details, daemon=True)
        process.start()
        return process

    def start_all(self) -> None:
        """Start everybody."""
        for party in (*self.village.names, HUB):
            self.start(party)

    def alive(self, party: str) -> bool:
        """Return whether a party's process runs."""
        return self.processes[party].exitcode is None

    def kill(self, party: str) -> None:
        """Kill a party's process."""
        self.processes[party].kill()
        self.processes[party].join()

    def freeze(self, party: str) -> None:
        """Stop a party's process as it stands."""
        self._signal(party, signal.SIGSTOP)

    def thaw(self, party: str) -> None:
        """Let a stopped process go on."""
        self._signal(party, signal.SIGCONT)

    def _signal(self, party: str, number: signal.Signals) -> None:
        pid = self.processes[party].pid
        if pid is not None and self.alive(party):
            os.kill(pid, number)

    def fill(self, party: str, *, full: bool) -> None:
        """Have no file of a process grow any more, as on a full disk; or let them again."""
        if party == BROKER:
            (fill if full else make_room)(self.store)
            return
        pid = self.processes[party].pid
        if pid is not None and self.alive(party):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, _FULL if full else _ROOM)

    def start_broker(self) -> None:
        """Start the broker again; who does that on a full disk makes room before."""
        make_room(self.store)
        self.broker.start_again()

    def set_clock(self, party: str, seconds: float) -> None:
        """Set a party's clock on the wall wrong."""
        name = "hub" if party == HUB else party
        (self.village.folder / f"{name}.clock").write_text(str(seconds), encoding="ascii")

    def copy_state(self, name: str, number: int) -> Path:
        """Return a copy of a member's state folder."""
        copy = self.village.folder / name / f"copy-{number}"
        copy_living(self.state(name), copy)
        return copy

    def set_overtaken_aside(self, name: str) -> None:
        """Do as a member says that does not answer from a folder which a copy has overtaken."""
        path = self.village.folder / f"{name}.log"
        said = path.read_text(encoding="utf-8").count(_OVERTAKEN) if path.exists() else 0
        if said > self._aside[name]:
            self._aside[name] = said
            self.state(name).rename(self.village.folder / name / f"overtaken-{said}")

    def done(self) -> int:
        """Return the number of rounds that ended."""
        path = self.run / "metrics.jsonl"
        return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0

    def wait(self, rounds: int, seconds: float) -> float:
        """Wait for so many rounds to have ended, and return how long that took.

        Raises:
            AssertionError: If they have not in time.
        """
        began = time.monotonic()
        while self.done() < rounds:
            if time.monotonic() > began + seconds:
                raise AssertionError(f"round {rounds} has not ended: {self.tail('hub')}")
            time.sleep(0.02)
        return time.monotonic() - began

    def keep_end(self, error: Exception) -> str:
        """Keep why the play ended and what is left of each process, and return it."""
        codes = {party: process.exitcode for party, process in self.processes.items()}
        said = [
            f"after {self.done()} of {self.rounds} rounds: {type(error).__name__}: {error}",
            f"exit codes: {codes}",
            *(f"{party}: {self.tail(party)}" for party in (*self.village.names, "hub")),
        ]
        text = "\n".join(said)
        (self.village.folder / "ended.txt").write_text(text, encoding="utf-8")
        return text

    def tail(self, name: str) -> str:
        """Return the end of a party's log."""
        path = self.village.folder / f"{name}.log"
        return path.read_text(encoding="utf-8")[-2000:] if path.exists() else "no log"

    def check_sums(self) -> list[int]:
        """Compare all sums since the last call with those of their survivors' inputs, bit by bit.

        Returns:
            How many survivors each of them has.
        """
        notes, found = self.village.folder / "notes", []
        consortium = self.village.context("hub").consortium
        for number in range(1, self.done() + 1):
            if number in self._checked:
                continue
            self._checked.add(number)
            cohort, survivors, dimension = json.loads((notes / f"sum-{number}.json").read_text())
            total = np.load(notes / f"sum-{number}.npy")
            encoding = session_params(consortium, tuple(cohort), dimension).encoding
            wanted = np.zeros_like(total)
            for name in survivors:
                with np.load(notes / f"input-{number}-{name}.npz") as kept:
                    loss, samples = float(kept["loss"]), int(kept["samples"])
                    wanted += encode_update(encoding, kept["change"], loss, samples)
            assert np.array_equal(total, wanted), f"round {number}: not the sum of {survivors}"
            found.append(len(survivors))
        return found

    def missing_ends(self) -> dict[str, list[int]]:
        """Return by member the rounds that ended and that its ledger entries do not say so of."""
        log = open_log(self.run / "ledger.sqlite", self.village.context("hub").consortium)
        with closing(log):
            entries = [read_entry(data).entry for data in log.entries()]
        ends = {(one.member, one.event.round) for one in entries if "outcome" in one.event.kind}
        rounds = range(1, self.done() + 1)
        return {
            name: found
            for name in self.village.names
            if (found := [number for number in rounds if (name, number) not in ends])
        }

    def sizes(self) -> dict[str, float]:
        """Return what the parties take now: bytes of files, memory, descriptors."""
        member, folder = self.village.names[0], self.village.folder
        own = folder / member
        found: dict[str, float] = {
            "coordinator": stored(self.run) - stored(self.run / "transcripts"),
            "coordinator's ledger": sum(map(size, self.run.glob("ledger.sqlite*"))),
            "transcripts": stored(self.run / "transcripts"),
            "member": stored(self.state(member)) + stored(own / "books"),
            "member's ledger": stored(own / "books"),
            "member's journal": stored(self.state(member)),
            "coordinator's log": size(folder / "hub.log"),
            "member's log": size(folder / f"{member}.log"),
            "broker": stored(folder / "broker"),
            "broker's streams": stored(self.store),
        }
        pids = {"coordinator": self.processes[HUB].pid, "member": self.processes[member].pid}
        for role, pid in (pids | {"broker": self.broker.pid}).items():
            found |= {f"memory {role}": resident(pid or 0), f"files {role}": descriptors(pid or 0)}
        return found
