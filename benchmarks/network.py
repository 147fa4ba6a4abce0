"""A secure round over NATS with TLS, every party in a process of its own, without training.

`seconds` is a round from the first question to the last answer to the sum, the journals of all
parties included; the median of the rounds after the first, which also agrees keys. `bytes_up` and
`bytes_down` are what one member sends and receives in it. `plain_bytes` is what a round of plain
FedAvg moves for that member: float32 down, float32 up. `messages` are those that a member sends and
receives. `cpu_seconds` are those of all processes, the broker among them. Members count alike and
agree on changes up to 8, for which `auto` takes 24 bits. 30 and 100 members are threads of two
processes.

`plain_seconds` is a round of the same members in the same run in the clear, with the same journals,
and `over_plain` the ratio to it. `over_aes` is `cpu_seconds` over those that the keystreams of all
masks take by themselves (AES-256-CTR and an addition): n by each member, and n by the coordinator.
`start_to_first_sum` begins before broker and processes are started, and ends with the first sum.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from harness import Row, main
from network_parties import context_of, live
from securefl.consortium.agreement.storage import read_signed
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregator
from securefl.federation.aggregation.fedavg import PlainAggregator
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.aggregation.session_parameters import answer_sizes
from securefl.federation.coordinator.fault_tolerant import FaultTolerantExchange
from securefl.federation.transport.journalled import COORDINATOR_NAME
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.broker_config import write_broker_config
from securefl.federation.transport.nats.dev_broker import Broker
from securefl.federation.transport.nats.journal import CoordinatorJournal
from securefl.federation.transport.nats.transport import NatsTransport
from securefl.federation.transport.session_keys import RunKeys
from securefl.federation.transport.timeouts import TimeoutPolicy
from securefl.ml.cpu import keep_freed_memory
from securefl_protocols.session.graph import default_threshold

PROCESSES = get_context("forkserver")


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
    cases.append(Case(5, 10_000, "auto", 12, 5))
    if not quick:
        cases += [
            Case(30, 10_000, "auto", 8, 2),
            Case(100, 10_000, "auto", 4, 2),
            Case(5, 10_000_000, "auto", 4, 5),
            Case(5, 10_000_000, 64, 4, 5),
            Case(100, 100_000, "auto", 3, 2),
            Case(100, 100_000, 64, 3, 2),
        ]
    return [measured(case) for case in cases]


def measured(case: Case) -> Row:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        from network_setup import found  # not in the members' processes, which import this file

        names = found(Path(folder), case.members, case.bits)
        started = time.perf_counter()
        stack.enter_context(_broker(Path(folder)))
        for part in range(case.processes):
            process = PROCESSES.Process(
                target=live, args=(Path(folder), names[part :: case.processes]), daemon=True
            )
            process.start()
            stack.callback(process.kill)
        return Row(case.name, timed(Path(folder), names, case, started))


def _broker(folder: Path) -> Broker:
    signed = read_signed(folder / "agreement.toml")
    file = write_broker_config(folder / "broker", signed, folder, datetime.now(UTC))
    return Broker(file, context_of(folder, "hub").port)


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
    counter = Counted()
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
            sizes=answer_sizes(context.consortium, case.dimension),
        )
        exchange = FaultTolerantExchange(transport)
        shared = np.zeros(case.dimension, dtype=np.float32)
        rounds = Rounds(transport, exchange, tuple(names), shared)
        seconds = rounds.play(SecureAggregator(context.consortium), 1, case.rounds)
        first_sum = rounds.first - started
        plain = rounds.play(PlainAggregator(), case.rounds + 1, case.rounds, masked=False)
        transport.begin_section("leaving")
        exchange.replies(dict.fromkeys(names, m.Shutdown()))
    count = case.rounds - 1
    cpu, up, down, messages = (
        (last - first) / count
        for first, last in zip(rounds.marks[0], rounds.marks[count], strict=True)
    )
    return {
        "seconds": median(seconds[1:]),
        "rounds_a_minute": 60 / median(seconds[1:]),
        "plain_seconds": median(plain[1:]),
        "over_plain": median(seconds[1:]) / median(plain[1:]),
        "cpu_seconds": cpu,
        "over_aes": cpu / aes_seconds(case),
        "first_seconds": seconds[0],
        "start_to_first_sum": first_sum,
        "bytes_per_member": up + down,
        "bytes_up": up,
        "bytes_down": down,
        "messages": messages,
        "plain_bytes": 8.0 * case.dimension,
        "ratio": (up + down) / (8.0 * case.dimension),
    }


@dataclass
class Rounds:
    """Rounds over one transport, one after the other; `first` is when the first one had a sum."""

    transport: NatsTransport
    exchange: FaultTolerantExchange
    names: tuple[str, ...]
    shared: np.ndarray
    first: float = 0.0

    def __post_init__(self) -> None:
        self.marks, self.used = [], Processors()

    def play(self, aggregator: Aggregator, start: int, rounds: int, masked: bool = True) -> list:
        seconds = []
        for number in range(start, start + rounds):
            self.transport.begin_section(f"round {number}")
            before = time.perf_counter()
            result = aggregator.aggregate(self.exchange, number, self.shared, self.names)
            seconds.append(time.perf_counter() - before)
            self.first = self.first or time.perf_counter()
            self.note()
            if masked:
                self.shared = (self.shared.astype(np.float64) + result.change).astype(np.float32)
            self.exchange.ask_all(self.names, m.Save(round=number), m.Done)
        return seconds

    def note(self) -> None:
        one, watch = self.names[0], self.transport.watch
        counts = watch.up[one], watch.down[one], watch.messages[one]
        self.marks.append((self.used.seconds(), *counts))


def aes_seconds(case: Case) -> float:
    """CPU seconds of the keystreams of all masks of a round, measured now on a part of them."""
    from secagg import best_chunk, expand_and_add

    size = min(case.dimension, 1_000_000)
    lanes = 64 if case.bits == 64 else 32
    vector = np.zeros(size, dtype=f"u{lanes // 8}")
    chunk = best_chunk(size, vector.dtype)
    before = time.process_time()
    expand_and_add(vector, 10, chunk)
    one = (time.process_time() - before) / 10 * case.dimension / size
    wide = {"auto": 24, 16: 16}.get(case.bits, lanes) / lanes
    return one * wide * case.members * (case.members + 1)


if __name__ == "__main__":
    main("A secure round over NATS", rows)
