"""Whole sessions in one process: what they cost each member and the coordinator.

A row is one round from key advertisement to the sum, with real signatures, sealing, sharing
and masking for every simulated member. Each case runs in a process of its own, so that its
peak memory is its own; it holds all members at once, and the coordinator's transcript.
"""

import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from harness import Row, main, peak_megabytes
from secagg import best_chunk, expand_and_add
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientSession
from securefl_protocols.session.dropouts import OPENING
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.roster import Roster

MODEL, AGREEMENT = bytes(32), b"a" * 32
LARGE = 1_000_000


@dataclass(frozen=True)
class Case:
    """How many members, with how many neighbours, sum how many coordinates.

    Attributes:
        degree: Neighbours of a member; None is what the plan chooses by itself.
        dropped: How many members fall silent before their masked input.
    """

    members: int
    dimension: int
    dropped: int = 0
    degree: int | None = None

    def plan(self) -> SessionPlan:
        plan = SessionPlan.for_cohort(
            members=self.members,
            dimension=self.dimension,
            ring=RingDtype.UINT32,
            largest_input=RingDtype.UINT32.largest // self.members,
            terms=bytes(32),
            min_members=max(3, self.members * 6 // 10),
        )
        if self.degree is None or plan.degree == self.degree:
            return plan
        threshold = math.ceil(0.7 * self.degree)
        return replace(plan, degree=self.degree, threshold=threshold)


@dataclass
class Bill:
    """CPU seconds and bytes, as they add up.

    Attributes:
        up: Bytes that each member sent.
        down: Bytes that each member was sent.
    """

    members_seconds: float = 0.0
    server_seconds: float = 0.0
    up: dict[int, int] = field(default_factory=dict)
    down: dict[int, int] = field(default_factory=dict)


class Session:
    """The parties of one case, and the messages that are under way."""

    def __init__(self, case: Case) -> None:
        self.plan, self.bill = case.plan(), Bill()
        self.silent = set(range(case.dropped))
        keys = [SigningKey.generate(os.urandom) for _ in range(case.members)]
        roster = Roster(tuple(map(str, range(case.members))), tuple(k.public for k in keys))
        shared = {
            "plan": self.plan,
            "roster": roster,
            "context": SessionContext(AGREEMENT, b"benchmark", self.plan.digest()),
        }
        self.server = ServerSession(**shared, number=1, model=MODEL)
        self.clients = [
            ClientSession(**shared, index=i, identity=key, entropy=os.urandom)
            for i, key in enumerate(keys)
        ]
        drawn = np.random.default_rng(1).integers(-1000, 1000, self.plan.dimension)
        self.vector = drawn.astype("<i4").view("<u4")
        self.outbox: dict[int, bytes] = {}

    def run(self) -> None:
        started = time.process_time()
        self.outbox = {i: client.start(1, MODEL) for i, client in enumerate(self.clients)}
        self.bill.members_seconds += time.process_time() - started
        while self.server.step in OPENING:
            self.step(set())
        self.server.begin_round(1, MODEL)
        started = time.process_time()
        for i, client in enumerate(self.clients):
            self.outbox[i] = client.begin_round(1, MODEL, self.vector)
        self.bill.members_seconds += time.process_time() - started
        for silent in (set(), self.silent, set(), set()):
            self.step(silent)
        kept = self.plan.members - len(self.silent)
        if not np.array_equal(self.server.result().total, self.vector * np.uint32(kept)):
            raise AssertionError("the sum is wrong")

    def step(self, silent: set[int]) -> None:
        started = time.process_time()
        for member, message in self.outbox.items():
            if member not in silent:
                self.server.receive(member, message)
                self.bill.up[member] = self.bill.up.get(member, 0) + len(message)
        told = self.server.end_step()
        self.bill.server_seconds += time.process_time() - started
        self.outbox = {}
        started = time.process_time()
        for member, message in told.items():
            self.bill.down[member] = self.bill.down.get(member, 0) + len(message)
            for answer in self.clients[member].receive(message):
                if isinstance(answer, bytes):
                    self.outbox[member] = answer
        self.bill.members_seconds += time.process_time() - started


def mask_limit(plan: SessionPlan, dropped: int) -> float:
    """CPU seconds to expand and add, and nothing else, the masks that the coordinator removes."""
    silent = set(range(dropped))
    pairs = sum(len(set(plan.neighbours(member)) - silent) for member in silent)
    vector = np.zeros(plan.dimension, dtype=np.uint32)
    chunk = best_chunk(plan.dimension)
    started = time.process_time()
    expand_and_add(vector, pairs + plan.members - dropped, chunk)
    return time.process_time() - started


def measure(case: Case) -> Row:
    """Runs one case; to be called in a process of its own."""
    before, started = peak_megabytes(), time.perf_counter()
    session = Session(case)
    session.run()
    wall = time.perf_counter() - started
    plan, bill = session.server.plan, session.bill
    dropped = f" dropped={case.dropped}" if case.dropped else ""
    measured = {
        "wall_seconds": wall,
        "member_cpu_milliseconds": 1e3 * bill.members_seconds / case.members,
        "server_cpu_seconds": bill.server_seconds,
        "up_kilobytes_per_member": median(bill.up.values()) / 1e3,
        "down_kilobytes_per_member": median(bill.down.values()) / 1e3,
        "peak_megabytes": peak_megabytes() - before,
    }
    if case.dimension >= LARGE:
        # Below that, signatures and key agreement are most of the work, and no mask limit.
        measured["ratio"] = bill.server_seconds / mask_limit(plan, case.dropped)
    name = f"session n={case.members} k={plan.degree} d={case.dimension}{dropped}"
    return Row(name, measured)


QUICK = (
    Case(10, 10_000),
    Case(50, 10_000, dropped=15),
    Case(120, 10_000, degree=20),
    Case(240, 10_000, degree=20),
)

FULL = (
    Case(10, 100_000),
    Case(100, 100_000),
    Case(1000, 100_000),
    Case(1000, 100_000, dropped=100),
    Case(100, 1_000_000, dropped=30),
    Case(125, 10_000, degree=52),
    Case(250, 10_000, degree=52),
    Case(500, 10_000, degree=52),
    Case(1000, 10_000, degree=52),
)


def benchmark(quick: bool) -> Sequence[Row]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return pool.map(measure, QUICK if quick else FULL, chunksize=1)


if __name__ == "__main__":
    main("Whole sessions of secure aggregation, every member simulated", benchmark)
