"""A coordinator that announces another sum than that of the survivors' inputs."""

import numpy as np
import pytest

from securefl_protocols.primitives.errors import ChecksumFailed, RemoteProtocolError
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.session.checksum import (
    MODULUS,
    ChecksumKey,
    checksum_from_bytes,
    checksum_to_bytes,
)
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.replay import replay
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    body_of,
    changed,
    inputs,
    only,
    small_plan,
    told,
)

VICTIM = 2
CONTEXT = b"c" * 32


def ready_to_announce(**changes):
    plan = small_plan(5, **changes)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    for _ in range(3):
        exchange.step()
    return exchange, plan, vectors


def lanes_in(message, plan):
    return plan.ring.unpack(told(message).total).copy()


def one_off(lanes, ring):
    lanes[3] += 1


def doubled(lanes, ring):
    lanes *= 2


def nothing(lanes, ring):
    lanes[:] = 0


def top_bit(lanes, ring):
    lanes[0] ^= 1 << (ring - 1)


def swapped(lanes, ring):
    lanes[[0, 1]] = lanes[[1, 0]]


def negated(lanes, ring):
    np.negative(lanes, out=lanes)


@pytest.mark.parametrize("ring", list(RingDtype))
@pytest.mark.parametrize("forge", [one_off, doubled, nothing, top_bit, swapped, negated])
def test_forged_sum(forge, ring):
    exchange, plan, _ = ready_to_announce(ring=ring, largest_input=6000)

    def change(message):
        lanes = lanes_in(message, plan)
        forge(lanes, ring)
        return changed(message, total=bytes(ring.pack(lanes)))

    exchange.tamper = only(VICTIM, change)
    with pytest.raises(ChecksumFailed, match="not that of the survivors") as failed:
        exchange.step()
    assert failed.value.survivors == set(range(5))
    # The round is over; a second sum of it meets a member that waits for none.
    assert exchange.clients[VICTIM].state is ClientState.READY
    assert VICTIM not in exchange.results


@pytest.mark.parametrize("tag", [b"", bytes(11), b"\xff" * 12, bytes(12), bytes(13)])
def test_forged_tag(tag):
    exchange, _, _ = ready_to_announce()
    exchange.tamper = only(VICTIM, lambda m: changed(m, tag=tag))
    with pytest.raises(RemoteProtocolError):
        exchange.step()


def test_only_the_sum_of_the_tags_is_seen():
    # A coordinator that knows the key, from a colluding member, sees no single member's tag.
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    vectors = inputs(plan)
    exchange.advertise()
    exchange.begin(vectors)
    exchange.step()
    key = exchange.clients[4]._round._checksum_key
    sent = {i: checksum_from_bytes(body_of(m).tag) for i, m in exchange.outbox.items()}
    own = {i: key.checksum(i, vectors[i]) for i in range(5)}
    assert all(sent[i] != own[i] for i in range(5))
    for _ in range(2):
        exchange.step()
    seen = checksum_from_bytes(told(exchange.step()[0]).tag)
    assert seen == sum(own.values()) % MODULUS
    assert 0 <= seen < MODULUS


def test_forged_sum_that_leaves_a_survivor_out():
    exchange, plan, vectors = ready_to_announce()

    def leave_out(message):
        lanes = lanes_in(message, plan)
        lanes -= vectors[4]
        return changed(message, total=lanes.tobytes())

    exchange.tamper = only(VICTIM, leave_out)
    with pytest.raises(RemoteProtocolError, match="not that of the survivors"):
        exchange.step()


def test_forged_sum_control_a_linear_tag_without_pads_accepts_multiples():
    key = ChecksumKey({0: b"k" * 32}, context=CONTEXT)
    vector = np.arange(1, 9, dtype="<u4")
    assert 2 * key._weighted(vector) == key._weighted(2 * vector)
    assert key._weighted(0 * vector) == 0
    # With pads, twice the sum and twice the tag is nothing that fits.
    tag = key.checksum(0, vector)
    assert key.fits(vector, tag, [0])
    assert not key.fits(2 * vector, 2 * tag, [0])
    assert not key.fits(0 * vector, 0, [0])


def test_forged_sum_with_the_key_of_a_colluding_member_passes_the_tag_but_no_replay():
    # An honest limit of the tag: it holds against the coordinator alone.
    exchange, plan, _ = ready_to_announce()
    leaked = exchange.clients[4]._round._checksum_key
    forged_input = np.full(8, 7, dtype="<u4")

    def forge(message):
        total = lanes_in(message, plan) + forged_input
        tag = leaked._weighted(total) + sum(leaked._pad(i) for i in range(5))
        return changed(message, total=total.tobytes(), tag=checksum_to_bytes(tag % MODULUS))

    exchange.tamper = only(VICTIM, forge)
    exchange.step()
    believed = exchange.results[VICTIM].total
    assert exchange.results[VICTIM].verified
    consortium = Consortium(plan)
    replayed = replay(
        exchange.server.transcript(),
        plan=plan,
        roster=consortium.roster,
        context=consortium.context,
        model=MODEL,
    )
    assert not np.array_equal(believed, replayed.total)


@pytest.mark.parametrize("ring", list(RingDtype))
@pytest.mark.parametrize("size", [1, 5, 511, 512, 513, 40_000])
def test_tag_of_honest_sums_always_fits(size, ring):
    generator = np.random.default_rng(size)
    most = ring.largest // 3
    drawn = [
        generator.integers(-most, most, size, dtype=np.int64).astype(ring.signed_dtype)
        for _ in range(3)
    ]
    drawn[0][:], drawn[1][0] = most, -most
    vectors = [vector.view(ring.dtype) for vector in drawn]
    key = ChecksumKey({i: bytes([i]) * 32 for i in range(3)}, context=CONTEXT)
    tags = [key.checksum(i, vector) for i, vector in enumerate(vectors)]
    assert key.fits(sum(vectors[1:], vectors[0]), sum(tags), range(3))
    assert not key.fits(vectors[0] + vectors[1], sum(tags[:2]), range(3))


@pytest.mark.parametrize("ring", list(RingDtype))
def test_tag_is_the_bilinear_form_of_its_definition(ring):
    key = ChecksumKey({0: b"k" * 32}, context=CONTEXT)
    vector = np.random.default_rng(5).integers(0, 1 << 63, 1500, dtype=np.uint64)
    vector = ring.reduce(vector.astype(ring.dtype))
    one = np.zeros(1500, dtype=ring.dtype)
    total = 0
    for place in (0, 1, 511, 512, 700, 1499):
        one[:] = 0
        one[place] = 1
        total += int(vector.view(ring.signed_dtype)[place]) * key._weighted(one)
    only_these = np.zeros_like(vector)
    for place in (0, 1, 511, 512, 700, 1499):
        only_these[place] = vector[place]
    assert key._weighted(only_these) == total


def test_tag_keys_differ_between_rounds_and_contributions():
    vector = np.ones(4, dtype="<u4")
    keys = [
        ChecksumKey({0: b"k" * 32}, context=CONTEXT),
        ChecksumKey({0: b"k" * 32}, context=b"d" * 32),
        ChecksumKey({0: b"l" * 32}, context=CONTEXT),
        ChecksumKey({1: b"k" * 32}, context=CONTEXT),
    ]
    assert len({key._weighted(vector) for key in keys}) == 4
