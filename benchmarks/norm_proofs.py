"""What norm proofs cost a member and the coordinator in a round, beside the round without them.

    PYTHONPATH=tests python benchmarks/norm_proofs.py

Real sessions in one process, one thread. CPU seconds; of a member the sum of all its steps.
"""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np

from securefl_protocols.proofs.norm_terms import NormTerms
from securefl_protocols.proofs.ristretto import commitment, generator
from support.session_driver import Consortium, Exchange, small_plan

WEIGHT, SCALE, LARGEST_WEIGHT = 1000, 32.0, (1 << 20)
SIZES = ((5, 17_000), (5, 100_000), (10, 17_000), (10, 100_000), (50, 17_000))
COLUMNS = ("members", "d", "member", "without", "coordinator", "without", "proof")


class Clocked:
    """A party whose calls are timed."""

    def __init__(self, party):
        self._party, self.spent = party, defaultdict(float)

    def __getattr__(self, name):
        found = getattr(self._party, name)
        if not callable(found):
            return found

        def timed(*args):
            before = time.process_time()
            try:
                return found(*args)
            finally:
                self.spent[name] += time.process_time() - before

        return timed


def terms_of(dimension):
    """A norm of 1 in 32 bits, with weights up to 2^20."""
    digits = 1, LARGEST_WEIGHT.bit_length(), LARGEST_WEIGHT
    return NormTerms.of(1.0, coordinates=dimension, scale=SCALE, error=0.5, weight=digits)


def seconds(members, dimension, norm):
    """CPU seconds of one member, and of the coordinator, in a round after the keys."""
    largest = ((1 << 31) - 1) // members
    plan = small_plan(members, dimension=dimension + 4, largest_input=largest, norm=norm, rounds=8)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    member, server = Clocked(exchange.clients[0]), Clocked(exchange.server)
    exchange.clients[0], exchange.server = member, server
    drawn = np.random.default_rng(0).normal(size=(members, dimension))
    scaled = np.rint(drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * WEIGHT * SCALE)
    exchange.begin([np.array([*row, 1, 2, 3, WEIGHT]).astype("<i4").view("<u4") for row in scaled])
    exchange.finish()
    assert len(exchange.results) == members
    return sum(member.spent.values()), sum(server.spent.values())


def coordinate_wise(count=400):
    """CPU seconds of a commitment to one coordinate alone."""
    generator(1)
    before = time.process_time()
    for place in range(count):
        commitment([3 + place], 1, 7 + place)
    return (time.process_time() - before) / count


def main():
    """Print a table."""
    for place in range(700):
        generator(place)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for members, dimension in SIZES:
        norm = terms_of(dimension)
        (mine, server), bare = seconds(members, dimension, norm), seconds(members, dimension, None)
        figures = f"{mine:.3f} s | {bare[0]:.3f} s | {server:.3f} s | {bare[1]:.3f} s"
        size = f"{norm.proof_bytes:,} bytes"
        print(f"| {members} | {dimension:,} | {figures} | {size} |", flush=True)
    print(f"a commitment to one coordinate: {1e6 * coordinate_wise():.0f} microseconds")


if __name__ == "__main__":
    main()
