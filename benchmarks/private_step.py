"""One private step under masks: noise, masking, unmasking, all parties in one process.

Five members, sessions whose keys serve many rounds. A step begins with the members' rounded
gradient sums and ends with the noised sum; two threads play the members, and the coordinator takes
a message when it is there. `noise_share` is the part of all CPU time that draws noise.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from harness import Row, main
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise.words import UniformWords
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientSession
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.roster import Roster

AGREEMENT, TERMS, MODEL = bytes(32), bytes(32), bytes(32)
THREADS = 2


class Step:
    """The parties of a session, which makes one round after the other."""

    def __init__(self, members: int, dimension: int, deviation: int, ring: RingDtype) -> None:
        self.ring = ring
        plan = SessionPlan.for_cohort(
            members=members,
            dimension=dimension,
            ring=ring,
            largest_input=ring.largest // members,
            terms=TERMS,
            rounds=64,
        )
        keys = [SigningKey.generate(os.urandom) for _ in range(members)]
        roster = Roster(tuple(map(str, range(members))), tuple(k.public for k in keys))
        context = SessionContext(AGREEMENT, b"benchmark", plan.digest())
        self.clients = [
            ClientSession(
                plan=plan,
                roster=roster,
                index=index,
                identity=key,
                context=context,
                entropy=os.urandom,
            )
            for index, key in enumerate(keys)
        ]
        self.server = ServerSession(
            plan=plan, roster=roster, context=context, number=1, model=MODEL, threads=THREADS
        )
        self.samplers = [DiscreteGaussian(deviation**2) for _ in keys]
        self.gradient = np.random.default_rng(1).integers(-1000, 1000, dimension)
        self.noise_seconds = [0.0] * members
        self.pool = ThreadPoolExecutor(THREADS)
        self._agree_on_keys()

    def _agree_on_keys(self) -> None:
        for index, client in enumerate(self.clients):
            self.server.receive(index, client.start(1, MODEL))
        for index, message in self.server.end_step().items():
            self.clients[index].receive(message)

    def round(self, number: int) -> None:
        """From gradients to the noised sum."""
        self.server.begin_round(number, MODEL)
        replies = self.pool.map(lambda i: self._begin(i, number), range(len(self.clients)))
        for _ in range(4):
            for index, reply in enumerate(replies):
                self.server.receive(index, reply)
            told = self.server.end_step()
            replies = self.pool.map(lambda i, t=told: self.clients[i].receive(t[i])[0], told)
        list(replies)
        self.server.result()

    def _begin(self, index: int, number: int) -> bytes:
        started = time.thread_time()
        share = np.empty_like(self.gradient)
        self.samplers[index].fill(UniformWords(os.urandom(32)), share)
        share += self.gradient
        self.noise_seconds[index] += time.thread_time() - started
        vector = share.astype(self.ring.signed_dtype, copy=False).view(self.ring.dtype)
        return self.clients[index].begin_round(number, MODEL, vector)


def measure(members: int, dimension: int, deviation: int, ring: RingDtype, rounds: int) -> Row:
    step, seconds = Step(members, dimension, deviation, ring), []
    cpu = time.process_time()
    for number in range(1, rounds + 1):
        started = time.perf_counter()
        step.round(number)
        seconds.append(time.perf_counter() - started)
    spent = (time.process_time() - cpu) / rounds
    return Row(
        f"private step n={members} d={dimension // 1000}k sigma={deviation} lanes={ring}",
        {
            "milliseconds": round(1e3 * median(seconds), 1),
            "cpu_milliseconds": round(1e3 * spent, 1),
            "noise_share": round(sum(step.noise_seconds) / rounds / spent, 2),
        },
    )


def benchmark(quick: bool) -> list[Row]:
    rounds = 3 if quick else 15
    return [
        measure(5, 200_000, deviation, ring, rounds)
        for ring in (RingDtype.UINT32, RingDtype.UINT64)
        for deviation in (1000, 680_000)
    ]


if __name__ == "__main__":
    main("One private step under masks", benchmark)
