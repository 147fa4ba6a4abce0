"""What an input could give away by itself: its masks, its weight, its range, its zeros."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives.errors import (
    LocalProtocolError,
    PlanError,
    RangeError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.primitives.prg import add_keystream
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.shamir import combine, share_from_bytes
from securefl_protocols.session import client_round
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.dropouts import ServerStep
from support.session_driver import (
    MODEL,
    Consortium,
    Exchange,
    entropy_of,
    inputs,
    lanes_of,
    plain_sum,
    small_plan,
)

VICTIM = 2


def masked_inputs(plan, vectors, run_id=b"run"):
    exchange = Exchange.of(Consortium(plan, run_id=run_id))
    exchange.advertise()
    exchange.begin(vectors)
    exchange.step()
    return exchange, {i: lanes_of(m, plan) for i, m in exchange.outbox.items()}


def test_weak_prg_with_few_seeds_is_searched():
    # Control: a mask from a seed of 12 bits (32 take minutes instead) is found by trying.
    def weak_mask(seed):
        return np.random.default_rng(seed).integers(0, 1 << 32, 8, dtype=np.uint32)

    secret = inputs(small_plan(5))[0]
    masked = secret + weak_mask(1234)
    known = secret[:2]
    found = [s for s in range(1 << 12) if np.array_equal((masked - weak_mask(s))[:2], known)]
    assert found == [1234]


def test_weak_prg_masks_have_keys_of_32_bytes_and_are_aes(monkeypatch):
    seen = []
    real = client_round.mask

    def watch(vector, *, self_key, pairwise_keys, **others):
        seen.append((self_key, *pairwise_keys.values()))
        real(vector, self_key=self_key, pairwise_keys=pairwise_keys, **others)

    monkeypatch.setattr(client_round, "mask", watch)
    masked_inputs(small_plan(5), inputs(small_plan(5)))
    assert [len(keys) for keys in seen] == [5] * 5
    # Five self masks and ten pairs, each known to both of its ends, and no key twice besides.
    assert len({key for keys in seen for key in keys}) == 15
    assert all(len(key) == 32 for keys in seen for key in keys)
    vector = np.zeros(4, dtype="<u4")
    add_keystream(vector, seen[0][0], 1)
    stream = Cipher(algorithms.AES256(seen[0][0]), modes.CTR(bytes(16))).encryptor()
    assert vector.tobytes() == stream.update(bytes(16))


def test_masked_input_says_nothing_without_its_masks():
    # Two very different inputs; the masked ones are uniform, each by a test of all its bits.
    plan = small_plan(5, dimension=4096)
    zeros = [np.zeros(4096, dtype="<u4") for _ in range(5)]
    _, masked = masked_inputs(plan, zeros)
    for vector in masked.values():
        ones = int(np.bitwise_count(vector).sum())
        bits = vector.size * 32
        assert abs(ones - bits / 2) < 6 * (bits / 4) ** 0.5
        assert (vector[:4096] == 0).sum() == 0


def test_sample_count_leak():
    # Control: weights sent beside the update, as FedAvg does, are read by the coordinator.
    # Here the count is a masked coordinate, and only the sum of the counts is seen.
    fixed = FixedPoint.finest(members=5, max_weight=1000, limit=1.0, ring=RingDtype.UINT32)
    plan = small_plan(5, dimension=9, largest_input=RingDtype.UINT32.largest // 5)
    counts = [10, 200, 999, 1, 57]
    update = np.linspace(-1, 1, 8, dtype=np.float32)
    vectors = [fixed.encode(update, count) for count in counts]
    exchange, masked = masked_inputs(plan, vectors)
    sizes = {len(message) for message in exchange.outbox.values()}
    assert len(sizes) == 1
    assert all(int(masked[i][8]) != counts[i] for i in range(5))
    for _ in range(3):
        exchange.step()
    mean = fixed.decode(exchange.server.result().total)
    assert mean.total_weight == sum(counts)
    assert np.abs(mean.mean - update).max() <= fixed.error_bound(5, sum(counts))


def test_sparse_coordinates_are_hidden_in_messages_and_not_in_the_sum():
    # A row that only the victim sells. Its place is in no message: all inputs are dense.
    plan = small_plan(5)
    vectors = [np.zeros(8, dtype="<u4") for _ in range(5)]
    vectors[VICTIM][3] = 41
    exchange, masked = masked_inputs(plan, vectors)
    assert len({len(message) for message in exchange.outbox.values()}) == 1
    assert all(int(vector[3]) not in (0, 41) for vector in masked.values())
    # An honest limit: the sum of one retailer's row is that retailer's row. Only noise helps.
    for _ in range(3):
        exchange.step()
    assert int(exchange.server.result().total[3]) == 41


@pytest.mark.parametrize("ring", list(RingDtype))
def test_wrap_around_is_refused_by_the_plan(ring):
    small_plan(5, ring=ring, largest_input=ring.largest // 5)
    with pytest.raises(PlanError, match="could wrap"):
        small_plan(5, ring=ring, largest_input=ring.largest // 5 + 1)


def test_wrap_around_would_turn_a_sum_round():
    # Control: five inputs within the ring whose sum is not.
    vectors = [np.full(1, 1 << 29, dtype="<u4")] * 5
    assert int(plain_sum(vectors).view("<i4")[0]) < 0


@pytest.mark.parametrize("value", [(1 << 20) + 1, -(1 << 20) - 1, -(1 << 31)])
def test_wrap_around_an_input_out_of_range_is_not_sent(value):
    plan = small_plan(5)
    exchange = Exchange.of(Consortium(plan))
    exchange.advertise()
    vector = np.zeros(8, dtype="<i4")
    vector[5] = value
    client = exchange.clients[0]
    with pytest.raises(RangeError):
        client.begin_round(1, MODEL, vector.view("<u4"))
    # Nothing was sent, nothing is used up: the member can begin with a good input.
    assert client.state is ClientState.READY
    client.begin_round(1, MODEL, inputs(plan)[0])


@pytest.mark.parametrize(
    "vector",
    [np.zeros(7, "<u4"), np.zeros(9, "<u4"), np.zeros(8, "<u8"), np.zeros((8, 1), "<u4")],
    ids=["short", "long", "wide", "two axes"],
)
def test_changed_model_structure_in_the_input(vector):
    exchange = Exchange.of(Consortium(small_plan(5)))
    exchange.advertise()
    with pytest.raises(LocalProtocolError, match="8 coordinates"):
        exchange.clients[0].begin_round(1, MODEL, vector)


def test_secrets_are_in_no_repr():
    plan = small_plan(5)
    exchange, _ = masked_inputs(plan, inputs(plan))
    client = exchange.clients[0]
    shown = repr([client, client._keystore, client._round._dealt[1], client._round._checksum_key])
    book = client._keystore
    secrets = [book.masking.private_bytes(), client._round._seed, book.box_secret(1)]
    for secret in secrets:
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_members_with_other_entropy_send_other_bytes():
    consortium = Consortium(small_plan(5))
    first = consortium.client(0, entropy_of("a")).start(1, MODEL)
    second = consortium.client(0, entropy_of("b")).start(1, MODEL)
    assert first != second


def test_collusion_of_fewer_than_the_threshold_learns_no_secret():
    # Four of seven members pool their shares of the victim's seed; the plan wants five.
    plan = small_plan(7)
    exchange, _ = masked_inputs(plan, inputs(plan))
    assert plan.threshold == 5
    shares = [exchange.clients[i]._round._dealt[VICTIM].seed_share for i in (0, 1, 3, 4)]
    assert len(set(shares)) == 4
    points = np.stack([share_from_bytes(share) for share in shares])[:, None, :]
    try:
        guess = combine([1, 2, 4, 5], points)[0]
    except RemoteProtocolError:
        guess = b""
    assert guess != exchange.clients[VICTIM]._round._seed


def test_dropouts_below_the_smallest_cohort_give_no_sum():
    exchange = Exchange.of(Consortium(small_plan(7, min_members=7)))
    with pytest.raises(TooFewSurvivors, match="the plan wants 7"):
        exchange.run(inputs(small_plan(7)), {ServerStep.SHARE: [1]})
