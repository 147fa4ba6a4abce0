"""Coordinates of 16, 24, 32 and 64 bits: packing, exact digits, rounding at random, no wrap."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from securefl_protocols.encoding.digits import Digits
from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives.errors import LocalProtocolError, PlanError, RangeError
from securefl_protocols.primitives.ring import RingDtype

KEY = b"k" * 32


@pytest.mark.parametrize("ring", RingDtype)
def test_pack_takes_the_bits_of_the_ring(ring):
    """A vector has b / 8 bytes a coordinate, little-endian in two's complement, and comes back."""
    numbers = [0, 1, -1, ring.largest, -ring.largest, -ring.largest - 1]
    vector = np.array(numbers, dtype=ring.signed_dtype).view(ring.dtype)
    data = bytes(ring.pack(vector))
    width = ring.value // 8
    assert data == b"".join(n.to_bytes(width, "little", signed=True) for n in numbers)
    assert ring.unpack(data).view(ring.signed_dtype).tolist() == numbers
    with pytest.raises(LocalProtocolError):
        ring.unpack(data[:-1])


def test_carries_above_24_bits_say_nothing():
    """What a mask carries beyond the ring is neither sent nor read."""
    ring = RingDtype.UINT24
    vector = np.array([0x7F000001, 0xFF800000, 0x00800000], dtype="<u4")
    assert bytes(ring.pack(vector)).hex() == "010000000080000080"
    assert ring.reduce(vector).view("<i4").tolist() == [1, -(2**23), -(2**23)]


@settings(max_examples=200, deadline=None)
@given(
    ring=st.sampled_from(RingDtype),
    largest=st.integers(1, 2**70),
    members=st.integers(1, 32767),
    data=st.data(),
)
@example(ring=RingDtype.UINT16, largest=2**60, members=32767, data=None)
def test_digits_of_the_extremes_never_wrap(ring, largest, members, data):
    """The sum of all members' digits stays in the ring, at the extremes too, and is the sum."""
    digits = Digits(members, largest, ring)
    assert members * digits.largest_digit <= ring.largest
    number = largest if data is None else data.draw(st.integers(-largest, largest))
    own = digits.split(number)
    assert len(own) == digits.count
    assert max(map(abs, own)) <= digits.largest_digit
    total = np.array(own, dtype=ring.signed_dtype) * ring.signed_dtype.type(members)
    assert digits.join(total) == members * number


def test_digits_refuse_what_has_no_room():
    with pytest.raises(PlanError):
        Digits(32768, 1, RingDtype.UINT16)
    with pytest.raises(PlanError):
        Digits(0, 1, RingDtype.UINT16)
    with pytest.raises(RangeError):
        Digits(3, 10, RingDtype.UINT16).split(-11)


NARROW = [ring for ring in RingDtype if ring < 64]


@pytest.mark.parametrize(
    ("ring", "at_random"), [(r, False) for r in RingDtype] + [(r, True) for r in NARROW]
)
def test_overflow_is_refused_before_it_is_masked(ring, at_random):
    """What could wrap the sum is an error of its own member, at both ends of the range."""
    form = FixedPoint.finest(
        members=100, max_weight=300, limit=1.0, ring=ring, at_random=at_random, exact=(1 << 40,)
    )
    key = KEY if at_random else None
    for number, weight, exact in (
        (np.nextafter(1.0, 2.0), 1, 0),
        (-1.1, 1, 0),
        (np.nan, 1, 0),
        (0.0, 301, 0),
        (0.0, -1, 0),
        (0.0, 1, (1 << 40) + 1),
    ):
        with pytest.raises(RangeError):
            form.encode(np.array([number]), weight, (exact,), key=key)
    extremes = [form.encode(np.array([1.0, -1.0]), 300, (s << 40,), key=key) for s in (1, -1)]
    for extreme in extremes:
        total = extreme * ring.dtype.type(100)
        decoded = form.decode(total)
        assert decoded.total_weight == 30_000
        assert abs(decoded.exact[0]) == 100 << 40
        assert np.abs(decoded.mean - [1, -1]).max() <= form.error_bound(100, 30_000)


def test_random_rounding_needs_a_key_of_its_own():
    """Without a secret key nothing is rounded at random, and with one nothing to the nearest."""
    near = FixedPoint(3, 1, 1.0, RingDtype.UINT16, 4)
    random = FixedPoint(3, 1, 1.0, RingDtype.UINT16, 4, at_random=True)
    update = np.full(64, 0.51, dtype=np.float32)
    with pytest.raises(LocalProtocolError):
        near.encode(update, 1, key=KEY)
    with pytest.raises(LocalProtocolError):
        random.encode(update, 1)
    assert np.array_equal(random.encode(update, 1, key=KEY), random.encode(update, 1, key=KEY))
    other = random.encode(update, 1, key=bytes(32))
    assert not np.array_equal(random.encode(update, 1, key=KEY), other)


def test_random_rounding_has_the_coordinate_as_mean():
    """Up with the probability of the fraction; an integer stays what it is, however large."""
    form = FixedPoint(3, 1, 1.0, RingDtype.UINT16, 4, at_random=True)
    count = 1 << 16
    for number in (0.0, 0.25, 0.26, -0.3, 1.0, -1.0):
        update = np.full(count, number, dtype=np.float64)
        drawn = form.encode(update, 1, key=KEY).view("<i2")[:-1] / 16
        fraction = number * 16 % 1
        deviation = (fraction * (1 - fraction) / count) ** 0.5 / 16
        assert abs(drawn.mean() - number) <= 5 * deviation + 2.0**-20
        assert np.abs(drawn - number).max() < 1 / 16
    large = FixedPoint(1, 1, 2.0**30, RingDtype.UINT32, 0, at_random=True)
    whole = np.full(count, 2.0**30 - 1)
    assert np.all(large.encode(whole, 1, key=KEY)[:-1] == 2**30 - 1)
    with pytest.raises(PlanError):
        FixedPoint(3, 1, 1.0, RingDtype.UINT64, 4, at_random=True)
