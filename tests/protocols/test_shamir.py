"""Secret sharing against a textbook, and every refusal."""

import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl_protocols.primitives import shamir
from securefl_protocols.primitives.entropy import DeterministicEntropy
from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError

P = 2147483659


def interpolate(points, at):
    """Lagrange's formula, as it is printed in every textbook."""
    total = 0
    for x, y in points:
        term = y
        for other, _ in points:
            if other != x:
                term = term * (at - other) * pow(x - other, -1, P) % P
        total += term
    return total % P


def limbs_of(secret):
    number = int.from_bytes(secret, "big")
    return [number >> 31 * limb & (2**31 - 1) for limb in range(8, -1, -1)]


def test_the_field_is_the_agreed_prime():
    assert shamir.PRIME == P == 2**31 + 11
    assert all(P % divisor for divisor in range(2, 46_342))


def test_shares_interpolate_to_the_limbs_as_any_textbook_does():
    secrets = [bytes(range(32)), os.urandom(32)]
    shares = shamir.split(secrets, 5, 3, os.urandom)
    assert shares.shape == (5, 2, 9)
    assert shares.dtype == np.uint32
    for xs in itertools.combinations(range(1, 6), 3):
        for secret, limb in itertools.product(range(2), range(9)):
            points = [(x, int(shares[x - 1, secret, limb])) for x in xs]
            assert interpolate(points, 0) == limbs_of(secrets[secret])[limb]


@pytest.mark.parametrize(("members", "threshold"), [(4, 2), (5, 4), (6, 3), (9, 7), (40, 27)])
def test_all_shares_lie_on_one_polynomial_of_degree_t_minus_1(members, threshold):
    shares = shamir.split([os.urandom(32)], members, threshold, os.urandom)
    for limb in (0, 8):
        points = [(x, int(shares[x - 1, 0, limb])) for x in range(1, members + 1)]
        for x, y in points[threshold:]:
            assert interpolate(points[:threshold], x) == y


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_t_shares_give_the_secrets_back(data):
    members = data.draw(st.integers(1, 30))
    threshold = data.draw(st.integers(1, members))
    secrets = data.draw(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3))
    entropy = DeterministicEntropy(data.draw(st.binary(min_size=32, max_size=32)))
    chosen = data.draw(st.permutations(range(1, members + 1)))[:threshold]
    shares = shamir.split(secrets, members, threshold, entropy)
    assert int(shares.max()) < P
    assert shamir.combine(chosen, shares[[x - 1 for x in chosen]]) == secrets


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, b"\x80" + bytes(31)])
def test_extreme_secrets(secret):
    shares = shamir.split([secret], 7, 5, os.urandom)
    assert shamir.combine([7, 1, 3, 2, 6], shares[[6, 0, 2, 1, 5]]) == [secret]


def test_a_large_cohort():
    secrets = [os.urandom(32), os.urandom(32)]
    shares = shamir.split(secrets, 1000, 667, os.urandom)
    xs = list(range(1000, 333, -1))
    assert shamir.combine(xs, shares[[x - 1 for x in xs]]) == secrets
    points = [(x, int(shares[x - 1, 1, 4])) for x in range(1, 668)]
    assert interpolate(points, 0) == limbs_of(secrets[1])[4]


def test_fewer_than_t_shares_fit_every_secret_equally():
    """For t = 2 one share takes every value once as the coefficient runs over the field."""
    share_of = {}
    for first_word in range(0, 2**16, 257):
        words = iter([first_word.to_bytes(4, "big") * 18])
        shares = shamir.split([bytes(32)], 3, 2, lambda _, words=words: next(words))
        share_of[first_word] = int(shares[1, 0, 0])
    assert len(set(share_of.values())) == len(share_of)


@pytest.mark.parametrize(("members", "threshold"), [(2, 2), (5, 4), (9, 7), (100, 67)])
def test_one_share_less_than_t_interpolates_to_something_else(members, threshold):
    secret = os.urandom(32)
    shares = shamir.split([secret], members, threshold, os.urandom)
    points = [[(x, int(shares[x - 1, 0, limb])) for x in range(1, threshold)] for limb in range(9)]
    guesses = [interpolate(known, 0) for known in points]
    assert not any(a == b for a, b in zip(guesses, limbs_of(secret), strict=True))


@pytest.mark.parametrize("at", range(9))
def test_limbs_that_no_secret_has_are_refused(at):
    limbs = [0] * 9
    limbs[at] = 2**8 if at == 0 else 2**31
    with pytest.raises(RemoteProtocolError, match="one secret"):
        shamir._secret(limbs)
    limbs[at] -= 1
    assert limbs_of(shamir._secret(limbs)) == limbs


def test_two_splits_of_one_secret_share_nothing():
    one, other = (shamir.split([bytes(32)], 20, 14, os.urandom) for _ in range(2))
    assert (one == other).mean() < 0.01


def test_shares_are_uniform_over_the_field():
    shares = shamir.split([bytes(32)] * 200, 4, 3, os.urandom)
    # The mean of 1800 uniform values is within 5 standard errors of the middle.
    for member in range(4):
        values = shares[member].astype(np.float64).ravel()
        assert abs(values.mean() - P / 2) < 5 * P / np.sqrt(12 * values.size)


def test_words_outside_the_field_are_thrown_away():
    inside = [number.to_bytes(4, "big") for number in (5, P - 1, 0, 7)]
    outside = [P.to_bytes(4, "big"), b"\xff\xff\xff\xff"]
    stream = [*outside, inside[0], outside[0], *inside[1:], outside[1]]
    supply = b"".join(stream)
    assert shamir._uniform(4, lambda length: supply[:length]).tolist() == [5, P - 1, 0, 7]


def test_more_is_drawn_when_too_many_words_were_outside():
    answers = iter([b"\xff" * 16, b"\xff" * 8 + bytes([0, 0, 0, 1, 0, 0, 0, 2])])
    assert shamir._uniform(2, lambda _: next(answers)).tolist() == [1, 2]


def test_reduction_of_any_word():
    values = [0, 1, P - 1, P, 2**31 - 1, 2**31, 2**33, 2**38, 2**63, 2**64 - 1, 2**64 - 2**31]
    reduced = shamir._reduce(np.array(values, dtype=np.uint64)).tolist()
    for value, small in zip(values, reduced, strict=True):
        assert small < 2**33
        assert small % P == value % P


@pytest.mark.parametrize(
    ("secrets", "members", "threshold"),
    [
        ([bytes(32)], 3, 0),
        ([bytes(32)], 3, 4),
        ([bytes(32)], 4097, 2),
        ([], 3, 2),
        ([bytes(31)], 3, 2),
        ([bytes(32), bytes(33)], 3, 2),
    ],
)
def test_what_cannot_be_split(secrets, members, threshold):
    with pytest.raises(LocalProtocolError):
        shamir.split(secrets, members, threshold, os.urandom)


@pytest.mark.parametrize("xs", [[1, 2], [1, 2, 2], [0, 1, 2], [1, 2, P], []])
def test_shares_belong_to_distinct_members(xs):
    shares = shamir.split([bytes(32)], 3, 3, os.urandom)
    with pytest.raises(LocalProtocolError):
        shamir.combine(xs, shares)


def test_a_tampered_share_gives_no_secret_or_another_one():
    secret = os.urandom(32)
    shares = shamir.split([secret], 5, 3, os.urandom)
    tampered = shares[:3].copy()
    tampered[1, 0, 8] = (int(tampered[1, 0, 8]) + 1) % P
    # The weights at zero of x = 1, 2, 3 are 3, -3, 1: the last limb is off by three.
    try:
        assert shamir.combine([1, 2, 3], tampered) != [secret]
    except RemoteProtocolError:
        assert int.from_bytes(secret, "big") % 2**31 < 3
    tampered[1, 0, 0] = (int(tampered[1, 0, 0]) + 2**20) % P
    with pytest.raises(RemoteProtocolError, match="one secret"):
        shamir.combine([1, 2, 3], tampered)


def test_a_share_has_one_way_to_be_written():
    shares = shamir.split([os.urandom(32)], 3, 2, os.urandom)
    data = shamir.share_to_bytes(shares[2, 0])
    assert len(data) == shamir.SHARE_BYTES == 36
    assert data[:4] == int(shares[2, 0, 0]).to_bytes(4, "big")
    assert np.array_equal(shamir.share_from_bytes(data), shares[2, 0])
    with pytest.raises(LocalProtocolError):
        shamir.share_to_bytes(shares[0])


@pytest.mark.parametrize(
    "data",
    [bytes(35), bytes(37), b"", P.to_bytes(4, "big") + bytes(32), bytes(32) + b"\xff" * 4],
)
def test_a_malformed_share_is_the_peers_fault(data):
    with pytest.raises(RemoteProtocolError) as caught:
        shamir.share_from_bytes(data, peer=4)
    assert caught.value.peer == 4


@given(st.data())
def test_weights_of_dense_and_of_scattered_points_are_the_textbook_s(data):
    """Two ways to the same weights: most of the points 1..n by factorials, others by products."""
    largest = data.draw(st.sampled_from([1, 2, 3, 8, 9, 31, 64, 200, P - 1]))
    points = st.integers(1, largest)
    xs = data.draw(st.lists(points, min_size=1, max_size=min(largest, 60), unique=True))
    expected = []
    for x in xs:
        weight = 1
        for other in xs:
            if other != x:
                weight = weight * other * pow(other - x, -1, P) % P
        expected.append(weight)
    assert shamir.lagrange_at_zero(xs).tolist() == expected
