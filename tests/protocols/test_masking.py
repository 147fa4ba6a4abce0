"""Masks: they cancel among survivors, and what is left can be taken away exactly."""

import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl_protocols.primitives.errors import LocalProtocolError
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session import masking

CONTEXT = b"c" * 32


class Cohort:
    """Members of a complete graph with their masks and inputs."""

    def __init__(self, members, ring, size, seed=0, context=CONTEXT):
        rng = np.random.default_rng(seed)
        keys = [ExchangeKey.generate(os.urandom) for _ in range(members)]
        self.members = range(members)
        self.inputs = rng.integers(0, 2**ring.value, (members, size), dtype=np.uint64)
        self.ring, self.inputs = ring, self.inputs.astype(ring.dtype)
        self.self_keys = [
            masking.self_mask_key(os.urandom(32), context=context, member=i) for i in self.members
        ]
        self.pair_keys = {
            (i, j): masking.pairwise_mask_key(
                keys[i].shared_secret(keys[j].public), context=context, member=i, neighbour=j
            )
            for i, j in itertools.permutations(self.members, 2)
        }

    def masked(self, member, threads=1):
        vector = self.inputs[member].copy()
        neighbours = {j: self.pair_keys[member, j] for j in self.members if j != member}
        masking.mask(
            vector,
            member=member,
            self_key=self.self_keys[member],
            pairwise_keys=neighbours,
            threads=threads,
        )
        return vector


def wrapped_sum(vectors):
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total += vector
    return total


@settings(max_examples=40, deadline=None)
@given(
    members=st.integers(2, 7),
    ring=st.sampled_from(RingDtype),
    threads=st.integers(1, 2),
    data=st.data(),
)
def test_the_sum_of_any_survivors_is_exact(members, ring, threads, data):
    cohort = Cohort(members, ring, 37, seed=members)
    survivors = data.draw(st.sets(st.sampled_from(list(cohort.members)), min_size=1))
    dropouts = set(cohort.members) - survivors
    total = wrapped_sum([cohort.masked(i, threads) for i in sorted(survivors)])
    masking.unmask(
        total,
        self_keys=[cohort.self_keys[i] for i in survivors],
        pairwise_keys={
            pair: cohort.pair_keys[pair] for pair in itertools.product(survivors, dropouts)
        },
        threads=threads,
    )
    summed = wrapped_sum([cohort.inputs[i] for i in survivors])
    assert np.array_equal(ring.reduce(total), ring.reduce(summed))


def test_pairwise_masks_of_survivors_cancel_by_themselves():
    cohort = Cohort(5, RingDtype.UINT32, 100)
    total = wrapped_sum([cohort.masked(i) for i in cohort.members])
    masking.unmask(total, self_keys=cohort.self_keys, pairwise_keys={})
    assert np.array_equal(total, wrapped_sum(list(cohort.inputs)))


def test_without_the_self_masks_the_sum_stays_hidden():
    cohort = Cohort(3, RingDtype.UINT32, 1000)
    total = wrapped_sum([cohort.masked(i) for i in cohort.members])
    assert (total == wrapped_sum(list(cohort.inputs))).mean() < 0.01


def test_the_lower_index_adds_and_the_higher_subtracts():
    assert masking.pairwise_sign(2, 9) == 1
    assert masking.pairwise_sign(9, 2) == -1
    with pytest.raises(LocalProtocolError):
        masking.pairwise_sign(4, 4)


def test_both_of_a_pair_derive_one_key_for_one_round_alone():
    secret = bytes(range(32))

    def key(context=CONTEXT, member=1, neighbour=2):
        return masking.pairwise_mask_key(
            secret, context=context, member=member, neighbour=neighbour
        )

    assert key() == key(member=2, neighbour=1)
    others = {
        key(context=b"d" * 32),
        key(neighbour=3),
        key(member=2, neighbour=3),
        masking.self_mask_key(secret, context=CONTEXT, member=1),
        masking.self_mask_key(secret, context=CONTEXT, member=2),
    }
    assert len(others) == 5
    assert key() not in others
    with pytest.raises(LocalProtocolError):
        key(neighbour=1)


def test_a_vector_is_never_sent_bare_or_under_the_same_mask_twice():
    vector = np.zeros(10, dtype=np.uint32)
    with pytest.raises(LocalProtocolError, match="laid open"):
        masking.mask(vector, member=0, self_key=bytes(32), pairwise_keys={})
    one = b"1" * 32
    for keys in ({1: one, 2: one}, {1: bytes(32)}):
        with pytest.raises(LocalProtocolError, match="same key"):
            masking.mask(vector, member=0, self_key=bytes(32), pairwise_keys=keys)
    with pytest.raises(LocalProtocolError, match="itself"):
        masking.mask(vector, member=0, self_key=bytes(32), pairwise_keys={0: one})
    assert not vector.any()
