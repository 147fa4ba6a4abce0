"""A secure round over NATS with TLS, every party in a process of its own, without training.

`seconds` is a round from the first question to the last answer to the sum, the journals of all
parties included; the median of the rounds after the first, which also agrees keys. `bytes_up` and
`bytes_down` are what one member sends and receives in it. `plain_bytes` is what a round of plain
FedAvg moves for that member: float32 down, float32 up. `messages` are those that a member sends and
receives. `cpu_seconds` are those of all processes, the broker among them. Members count alike and
agree on changes up to 8, for which `auto` takes 24 bits. 100 members are threads of two processes.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from harness import Row, main
from securefl.config.load import load_config
from securefl.consortium.agreement.drafting import draft
from securefl.consortium.agreement.storage import read_signed, write_card
from securefl.consortium.agreement.workflow import sign_agreement
from securefl.consortium.keys.key_files import generate_key, read_key, write_clear_key
from securefl.consortium.keys.parties import key_bundle_of
from securefl.consortium.keys.tls_certificates import create_authority, issue_broker
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.coordinator.fault_tolerant import FaultTolerantExchange
from securefl.federation.member.journal import MemberJournal
from securefl.federation.services.bootstrap import ConnectionContext, connection_context
from securefl.federation.services.member_process import (
    JournalMemory,
    MemberEnd,
    MemberProcess,
    QuestionEntropy,
)
from securefl.federation.services.public_facts import make_facts
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.broker_config import write_broker_config
from securefl.federation.transport.nats.dev_broker import Broker
from securefl.federation.transport.nats.journal import CoordinatorJournal
from securefl.federation.transport.nats.transport import COORDINATOR_NAME, NatsTransport
from securefl.federation.transport.session_keys import RunKeys
from securefl.federation.transport.timeouts import TimeoutPolicy
from securefl.ml.cpu import keep_freed_memory
from securefl_protocols.session.graph import default_threshold
from support.brokers import free_port
from support.rehearsal import RehearsingMember

PROCESSES = get_context("forkserver")
SECRET = b"a passphrase for nobody"


@dataclass(frozen=True)
class Case:
    """One row."""

    members: int
    dimension: int
    bits: int | str
    rounds: int
    processes: int

    @property
    def name(self) -> str:
        size = self.dimension
        short = f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1000}k"
        lanes = "" if self.bits == "auto" else f" bits={self.bits}"
        return f"round n={self.members} d={short}{lanes}"


def rows(quick: bool) -> list[Row]:
    cases = [Case(5, 200_000, bits, 7, 5) for bits in ("auto", 16, 32, 64)]
    if not quick:
        cases += [
            Case(5, 10_000_000, "auto", 4, 5),
            Case(5, 10_000_000, 64, 4, 5),
            Case(100, 100_000, "auto", 3, 2),
            Case(100, 100_000, 64, 3, 2),
        ]
    return [measured(case) for case in cases]


def measured(case: Case) -> Row:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        names = found(Path(folder), case)
        started = time.perf_counter()
        stack.enter_context(_broker(Path(folder)))
        for part in range(case.processes):
            process = PROCESSES.Process(
                target=live, args=(Path(folder), names[part :: case.processes]), daemon=True
            )
            process.start()
            stack.callback(process.kill)
        return Row(case.name, timed(Path(folder), names, case, started))


def found(folder: Path, case: Case) -> list[str]:
    """Keys, certificates, agreement and facts, as parties of their own would make them."""
    names = [f"member-{number}" for number in range(case.members)]
    now, port = datetime.now(UTC), free_port()
    for name in (*names, "hub"):
        key = generate_key()
        write_clear_key(folder / f"{name}.key", key)
        write_card(folder / f"{name}.card", key_bundle_of(name, key))
    create_authority(folder, "benchmark", SECRET, now)
    issue_broker(folder, ("127.0.0.1",), SECRET, now, 1)
    secure = {"bits": case.bits, "limit": 8.0, "max_samples": 1, "min_samples": 1}
    source = {"source": "tutorial", "retailers": 3, "customers": 20, "interactions": [60, 90]}
    config = load_config(
        None, {"rounds": 64, "data": source, "secure": secure, "model": {"name": "rating-ncf"}}
    )
    draft(
        folder / "agreement.toml",
        "benchmark",
        [folder / f"{name}.card" for name in names],
        config,
        created=now,
        expires=now + timedelta(days=1),
        coordinator=folder / "hub.card",
        meeting=(f"tls://127.0.0.1:{port}", folder / "ca.pem"),
    )
    for name in names:
        sign_agreement(folder / "agreement.toml", read_key(folder / f"{name}.key"))
    make_facts(config, folder / "facts")
    return names


def context_of(folder: Path, name: str) -> ConnectionContext:
    key = read_key(folder / f"{name}.key")
    return connection_context(folder / "agreement.toml", key, folder / "facts", "1")


def _broker(folder: Path) -> Broker:
    signed = read_signed(folder / "agreement.toml")
    file = write_broker_config(folder / "broker", signed, folder, datetime.now(UTC))
    return Broker(file, context_of(folder, "hub").port)


def live(folder: Path, names: list[str]) -> None:
    """What a process with some members does."""
    keep_freed_memory()
    threads = [threading.Thread(target=live_alone, args=(folder, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def live_alone(folder: Path, name: str) -> None:
    context = context_of(folder, name)
    entropy = QuestionEntropy()
    journal = MemberJournal(folder / name, context.key.private_bytes(), context.run.id)
    keys = RunKeys(folder / name, context.key, context.run.id, name)
    identity, books = context.key.private_bytes(), folder / "books"
    member = RehearsingMember(name, identity, context.consortium, entropy, books)
    with context.connected() as link:
        memory = JournalMemory(journal)
        end = MemberEnd(name, keys, context.run, link, journal, entropy, memory, member.fence)
        MemberProcess(end, member).serve()


class Counted(LivenessTracker):
    """Counts what really goes over the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()

    def asked(self, party: str, message: bytes) -> None:
        super().asked(party, message)
        self.down[party] += len(message)
        self.messages[party] += 1

    def answered(self, party: str, size: int) -> None:
        super().answered(party, size)
        self.up[party] += size
        self.messages[party] += 1


class Processors:
    """CPU time of this process and of all that it has started, as Linux counts it."""

    def seconds(self) -> float:
        parents, ticks = {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                process = int(path.parent.name)
                parents[process], ticks[process] = int(fields[1]), sum(map(int, fields[11:13]))
        ours = {os.getpid()}
        while more := {p for p, parent in parents.items() if parent in ours} - ours:
            ours |= more
        return sum(ticks.get(process, 0) for process in ours) / os.sysconf("SC_CLK_TCK")


def timed(folder: Path, names: list[str], case: Case, started: float) -> dict[str, float]:
    """The coordinator's part: rounds, one after the other."""
    keep_freed_memory()
    context = context_of(folder, "hub")
    seconds, marks, counter = [], [], Counted()
    used = Processors()
    with context.connected() as link:
        transport = NatsTransport(
            link,
            context.run,
            RunKeys(folder / "hub", context.key, context.run.id, COORDINATOR_NAME),
            journal=CoordinatorJournal(folder / "hub"),
            timeouts=TimeoutPolicy(
                quorum=default_threshold(case.members), silence=900.0, least=900.0
            ),
            watch=counter,
        )
        exchange, aggregator = (
            FaultTolerantExchange(transport),
            SecureAggregator(context.consortium),
        )
        shared = np.zeros(case.dimension, dtype=np.float32)
        for number in range(1, case.rounds + 1):
            transport.begin_section(f"round {number}")
            before = time.perf_counter()
            result = aggregator.aggregate(exchange, number, shared, tuple(names))
            seconds.append(time.perf_counter() - before)
            one = names[0]
            counts = (counter.up[one], counter.down[one], counter.messages[one])
            marks.append((used.seconds(), *counts))
            shared = (shared.astype(np.float64) + result.change).astype(np.float32)
            exchange.ask_all(names, m.Save(round=number), m.Done)
        transport.begin_section("leaving")
        exchange.replies(dict.fromkeys(names, m.Shutdown()))
    rounds = case.rounds - 1
    cpu, up, down, messages = (
        (last - first) / rounds for first, last in zip(marks[0], marks[-1], strict=True)
    )
    return {
        "seconds": median(seconds[1:]),
        "cpu_seconds": cpu,
        "first_seconds": seconds[0],
        "bytes_per_member": up + down,
        "bytes_up": up,
        "bytes_down": down,
        "messages": messages,
        "plain_bytes": 8.0 * case.dimension,
        "ratio": (up + down) / (8.0 * case.dimension),
        "start_to_first_sum": time.perf_counter() - started - sum(seconds[1:]),
    }


if __name__ == "__main__":
    main("A secure round over NATS", rows)
