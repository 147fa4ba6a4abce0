"""Secure aggregation against the speed of AES: one client's step, the server, the key work.

The limit of a step is what nobody who expands the same masks can avoid: the AES-256-CTR
keystream of every mask in a buffer that is there already, added in place with numpy. It is
measured in the same run, in turns with the step, with the chunk that is best for it. A mask has
words of the lanes in memory: of 2 bytes for 16 bits, of 4 for 24 and 32, of 8 for 64.
"""

import os
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from harness import Row, interleaved, main
from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives.prg import add_many
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.shamir import combine, split
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.checksum import ChecksumKey
from securefl_protocols.session.graph import default_threshold, neighbour_graph, smallest_degree
from securefl_protocols.session.masking import (
    mask,
    pairwise_mask_key,
    pairwise_sign,
    self_mask_key,
    unmask,
)

CONTEXT = bytes(32)
CHUNKS = (1 << 17, 1 << 18, 1 << 20, 1 << 22)


def benchmark(quick: bool) -> list[Row]:
    sizes = (100_000, 1_000_000) if quick else (100_000, 1_000_000, 10_000_000)
    rows = [client(k, d, quick) for d in sizes for k in (9, 20, 99)]
    other = (RingDtype.UINT16, RingDtype.UINT24, RingDtype.UINT64)
    rows += [client(20, 1_000_000, quick, ring) for ring in other]
    rows += [two_threads(20, d) for d in sizes[1:]]
    rows.append(server(Cohort.complete(100, dropped=30), 1_000_000, repeats=1 if quick else 3))
    rows.append(server(Cohort.sparse(1000, dropped=100), 100_000, repeats=1 if quick else 3))
    rows += [online_tag(d) for d in sizes[:2]]
    return rows + shamir(quick) + key_work()


def expand_and_add(vector: np.ndarray, masks: int, chunk: int) -> None:
    """The limit: keystream and addition, with nothing around them."""
    chunk = min(chunk, vector.nbytes)
    zeros = memoryview(bytes(chunk))
    buffer = np.empty(chunk // vector.itemsize, dtype=vector.dtype)
    for number in range(masks):
        key = number.to_bytes(32, "big")
        expand = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update_into
        for start in range(0, vector.size, buffer.size):
            piece = vector[start : start + buffer.size]
            words = buffer[: piece.size]
            expand(zeros[: piece.nbytes], words.data.cast("B"))
            piece += words


def best_chunk(size: int, dtype: object = np.uint32) -> int:
    """The chunk with which the limit is fastest at this size."""
    vector = np.zeros(size, dtype=dtype)
    cases = {str(c): lambda c=c: expand_and_add(vector, 5, c) for c in CHUNKS}
    seconds = interleaved(cases, 3 if size > 1_000_000 else 15)
    return int(min(seconds, key=lambda chunk: seconds[chunk]))


def client(neighbours: int, size: int, quick: bool, ring: RingDtype = RingDtype.UINT32) -> Row:
    """The MaskedInput step of one member: encoding, mask expansion, additions, packing."""
    update = np.random.default_rng(size).uniform(-1, 1, size).astype(np.float32)
    form = FixedPoint.finest(
        members=neighbours + 1,
        max_weight=100_000,
        limit=4.0,
        ring=ring,
        at_random=ring is RingDtype.UINT16,
    )
    key = os.urandom(32) if form.at_random else None
    pairs = {j: os.urandom(32) for j in range(1, neighbours + 1)}
    own = os.urandom(32)

    def step() -> memoryview:
        vector = form.encode(update, 1234, key=key)
        mask(vector, member=0, self_key=own, pairwise_keys=pairs)
        return ring.pack(vector)

    vector, chunk = np.zeros(size + form.tail, dtype=ring.dtype), best_chunk(size, ring.dtype)
    work = size * neighbours
    repeats = max(3, min(41, (200_000_000 if quick else 600_000_000) // work))
    seconds = interleaved(
        {"step": step, "limit": lambda: expand_and_add(vector, neighbours + 1, chunk)}, repeats
    )
    return Row(
        f"client n={neighbours + 1} k={neighbours} d={size}"
        + ("" if ring is RingDtype.UINT32 else f" bits={ring.value}"),
        {
            "cpu_seconds": seconds["step"],
            "limit_seconds": seconds["limit"],
            "ratio": seconds["step"] / seconds["limit"],
            "bytes_per_coordinate": peak_bytes(step) / size,
            "bytes_to_plain": step().nbytes / (4 * size),
        },
    )


def peak_bytes(step: Callable[[], object]) -> int:
    """The most memory that the step had allocated at once, its result included."""
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def two_threads(neighbours: int, size: int) -> Row:
    """Wall time of masking alone on one thread and on two."""
    vector = np.zeros(size, dtype=np.uint32)
    masks = [(os.urandom(32), 1) for _ in range(neighbours + 1)]
    cases = {
        "one": lambda: add_many(vector, masks, threads=1),
        "two": lambda: add_many(vector, masks, threads=2),
    }
    seconds = interleaved(cases, 5, clock=time.perf_counter)
    return Row(
        f"masking on two threads k={neighbours} d={size}",
        {
            "wall_seconds": seconds["two"],
            "one_thread_seconds": seconds["one"],
            "speedup": seconds["one"] / seconds["two"],
        },
    )


def online_tag(size: int) -> Row:
    """What the verifiable sum adds to a client's step, whatever the number of neighbours."""
    key = ChecksumKey({member: os.urandom(32) for member in range(10)}, context=CONTEXT)
    vector = np.random.default_rng(2).integers(0, 2**32, size, dtype=np.uint32)
    seconds = interleaved({"tag": lambda: key.checksum(0, vector)}, 11)["tag"]
    return Row(
        f"online tag d={size}",
        {"cpu_seconds": seconds, "nanoseconds_per_coordinate": 1e9 * seconds / size},
    )


@dataclass
class Cohort:
    """Members after the key steps, and what the survivors reveal of each of them.

    Attributes:
        keys: Every member's masking key.
        seeds: Every member's self mask seed.
        neighbours: For each member its neighbours.
        dropouts: Who sent no masked input.
        revealed: For each member the xs and shares that the server holds.
    """

    keys: list[ExchangeKey]
    seeds: list[bytes]
    neighbours: Sequence[Sequence[int]]
    dropouts: frozenset[int]
    revealed: list[tuple[list[int], np.ndarray]]

    @classmethod
    def complete(cls, members: int, *, dropped: int) -> "Cohort":
        return cls._deal(members, members - 1, default_threshold(members), dropped)

    @classmethod
    def sparse(cls, members: int, *, dropped: int) -> "Cohort":
        # A third may collude, as in the default plan.
        degree, threshold = smallest_degree(members, Fraction(1, 3), dropped / members)
        return cls._deal(members, degree, threshold, dropped)

    @classmethod
    def _deal(cls, members: int, degree: int, threshold: int, dropped: int) -> "Cohort":
        graph = neighbour_graph(members, degree, bytes(32))
        dropouts = frozenset(np.random.default_rng(0).permutation(members)[:dropped].tolist())
        keys = [ExchangeKey.generate(os.urandom) for _ in range(members)]
        seeds = [os.urandom(32) for _ in range(members)]
        revealed = []
        for member, neighbours in enumerate(graph):
            secret = keys[member].private_bytes() if member in dropouts else seeds[member]
            shares = split([secret], degree, threshold, os.urandom)
            alive = [at for at, j in enumerate(neighbours) if j not in dropouts][:threshold]
            revealed.append(([at + 1 for at in alive], shares[alive]))
        return cls(keys, seeds, graph, dropouts, revealed)

    @property
    def survivors(self) -> list[int]:
        return [i for i in range(len(self.keys)) if i not in self.dropouts]

    def rebuilt_masks(self) -> tuple[list[bytes], dict[tuple[int, int], bytes]]:
        """What the server does before it expands: shares to secrets to mask keys."""
        own, pairs = [], {}
        for member, (xs, shares) in enumerate(self.revealed):
            secret = combine(xs, shares)[0]
            if member not in self.dropouts:
                own.append(self_mask_key(secret, context=CONTEXT, member=member))
                continue
            key = ExchangeKey(secret)
            assert key.public == self.keys[member].public
            for peer in self.neighbours[member]:
                if peer not in self.dropouts:
                    pairs[peer, member] = pairwise_mask_key(
                        key.shared_secret(self.keys[peer].public),
                        context=CONTEXT,
                        member=member,
                        neighbour=peer,
                    )
        return own, pairs


def server(cohort: Cohort, size: int, repeats: int) -> Row:
    """Everything between the last message and the sum: additions, rebuilding, unmasking."""
    own, pairs = cohort.rebuilt_masks()
    expected, masks_left, inputs = masked_inputs(cohort, size, own, pairs)

    def step() -> None:
        total = masks_left.copy()
        for number in range(len(cohort.survivors)):
            total += inputs[number % len(inputs)]
        self_keys, pairwise_keys = cohort.rebuilt_masks()
        unmask(total, self_keys=self_keys, pairwise_keys=pairwise_keys)
        assert np.array_equal(total, expected)

    masks, sample = len(own) + len(pairs), 200
    vector, chunk = np.zeros(size, dtype=np.uint32), best_chunk(size)
    seconds = interleaved(
        {"step": step, "limit": lambda: expand_and_add(vector, sample, chunk)}, repeats
    )
    limit = seconds["limit"] * masks / sample
    return Row(
        f"server n={len(cohort.keys)} d={size} dropped={len(cohort.dropouts)}",
        {
            "k": len(cohort.neighbours[0]),
            "masks": masks,
            "cpu_seconds": seconds["step"],
            "limit_seconds": limit,
            "ratio": seconds["step"] / limit,
        },
    )


def masked_inputs(
    cohort: Cohort, size: int, own: list[bytes], pairs: dict[tuple[int, int], bytes]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """A known sum, the masks that do not cancel, and ten vectors that stand for all inputs."""
    rng = np.random.default_rng(1)
    inputs = [rng.integers(0, 2**32, size, dtype=np.uint32) for _ in range(10)]
    expected = np.zeros(size, dtype=np.uint32)
    for number in range(len(cohort.survivors)):
        expected += inputs[number % len(inputs)]
    inverse = [(key, 1) for key in own]
    inverse += [(key, pairwise_sign(i, j)) for (i, j), key in pairs.items()]
    first = np.zeros(size, dtype=np.uint32)
    add_many(first, inverse)
    return expected, first, inputs


def shamir(quick: bool) -> list[Row]:
    """Both secrets of one member, shared among 1000 and rebuilt by 667 of them."""
    secrets = [os.urandom(32), os.urandom(32)]
    xs = list(range(301, 968))
    shares = split(secrets, 1000, 667, os.urandom)[[x - 1 for x in xs]]
    assert combine(xs, shares) == secrets
    cases = {
        "split": lambda: split(secrets, 1000, 667, os.urandom),
        "combine": lambda: combine(xs, shares),
    }
    seconds = interleaved(cases, 11 if quick else 51)
    return [
        Row(f"shamir {name} n=1000 t=667", {"cpu_seconds": value, "milliseconds": 1e3 * value})
        for name, value in seconds.items()
    ]


def key_work() -> list[Row]:
    """What a client does for one neighbour outside the MaskedInput step."""
    one, two = (ExchangeKey.generate(os.urandom) for _ in range(2))
    signer = SigningKey.generate(os.urandom)
    signature = signer.sign(b"domain", CONTEXT)
    shared = one.shared_secret(two.public)
    cases: dict[str, Callable[[], object]] = {
        "key agreement": lambda: one.shared_secret(two.public),
        "mask key derivation": lambda: pairwise_mask_key(
            shared, context=CONTEXT, member=0, neighbour=1
        ),
        "signature": lambda: signer.sign(b"domain", CONTEXT),
        "signature check": lambda: verify(signer.public, signature, b"domain", CONTEXT),
    }
    seconds = interleaved(cases, 101)
    return [
        Row(name, {"cpu_seconds": value, "milliseconds": 1e3 * value})
        for name, value in seconds.items()
    ]


if __name__ == "__main__":
    main("Secure aggregation against the AES-256-CTR-plus-add limit", benchmark)
