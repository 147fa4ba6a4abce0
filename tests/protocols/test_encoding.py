"""Fixed point: the bound holds for every input, sums are exact, nothing is clipped."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives.errors import LocalProtocolError, PlanError, RangeError
from securefl_protocols.primitives.ring import RingDtype


def exact_mean(updates, weights):
    """The weighted mean of float vectors in rational numbers."""
    total = sum(weights)
    return [
        sum(Fraction(float(x)) * w for x, w in zip(column, weights, strict=True)) / total
        for column in zip(*updates, strict=True)
    ]


def summed(form, updates, weights):
    """The sum of encoded updates, each rounded at random with a key of its own where that is."""
    keys = [bytes([i]) * 32 if form.at_random else None for i in range(len(updates))]
    pairs = zip(updates, weights, keys, strict=True)
    vectors = [form.encode(u, w, key=key) for u, w, key in pairs]
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total += vector
    return total


@st.composite
def federations(draw):
    ring = draw(st.sampled_from(RingDtype))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    members = draw(st.integers(1, 6))
    max_weight = draw(st.integers(1, 10**6))
    limit = draw(st.sampled_from([1e-6, 0.1, 1.0, 3.7, 1000.0]))
    largest = np.nextafter(dtype(limit), dtype(0))
    weights = draw(
        st.lists(st.integers(0, max_weight), min_size=members, max_size=members).filter(any)
    )
    numbers = st.floats(-float(largest), float(largest), width=32 if dtype is np.float32 else 64)
    rows = st.lists(numbers, min_size=3, max_size=3)
    updates = [np.array(draw(rows), dtype=dtype) for _ in range(members)]
    form = FixedPoint.finest(
        members=members,
        max_weight=max_weight,
        limit=limit,
        ring=ring,
        at_random=ring < 64 and draw(st.booleans()),
    )
    return form, updates, weights


@settings(max_examples=300, deadline=None)
@given(federation=federations())
def test_the_bound_holds_and_the_weights_are_exact(federation):
    form, updates, weights = federation
    decoded = form.decode(summed(form, updates, weights))
    assert decoded.total_weight == sum(weights)
    bound = Fraction(form.error_bound(len(updates), sum(weights)))
    narrow = Fraction(form.error_bound(len(updates), sum(weights), result=np.float32))
    for got, want in zip(decoded.mean, exact_mean(updates, weights), strict=True):
        assert abs(Fraction(float(got)) - want) <= bound
        assert abs(Fraction(float(np.float32(got))) - want) <= narrow


def test_the_bound_is_the_formula_known_before_training():
    form = FixedPoint.finest(members=10, max_weight=5000, limit=2.0, ring=RingDtype.UINT32)
    formula = 10 * 5000 / (2 * form.scale * 31_000)
    assert form.error_bound(10, 31_000) == pytest.approx(formula, rel=1e-6)


def test_the_bound_is_reached():
    """Half a unit at every member: no smaller constant would do."""
    form = FixedPoint(members=4, max_weight=8, limit=1.0, ring=RingDtype.UINT32, fraction_bits=4)
    update = np.array([2.0**-5], dtype=np.float32)
    decoded = form.decode(summed(form, [update] * 4, [1, 1, 1, 1]))
    assert abs(decoded.mean[0] - 2.0**-5) == 4 * 8 / (2 * form.scale * 4)


def test_a_float32_product_is_rounded_once():
    """Products of 24-bit numbers need 48 bits: as float32 they would miss the integer."""
    form = FixedPoint(
        members=1, max_weight=16_777_217, limit=1.0, ring=RingDtype.UINT32, fraction_bits=0
    )
    update = np.array([0.5], dtype=np.float32)
    encoded = form.encode(update, 16_777_215)
    assert encoded.tolist() == [8_388_608, 16_777_215]
    exact = [
        round(Fraction(float(x)) * 16_777_213) for x in np.linspace(-1, 1, 999, dtype=np.float32)
    ]
    wide = form.encode(np.linspace(-1, 1, 999, dtype=np.float32), 16_777_213)
    assert wide.view("<i4").tolist() == [*exact, 16_777_213]


@pytest.mark.parametrize("ring", RingDtype)
def test_integers_are_independent_of_the_chunk(ring, monkeypatch):
    form = FixedPoint.finest(members=3, max_weight=100, limit=1.0, ring=ring)
    update = np.random.default_rng(0).uniform(-1, 1, 60_001).astype(np.float32)
    expected = np.rint(update.astype(np.float64) * math.ldexp(77, form.fraction_bits))
    for smallest, largest in ((1 << 12, 1 << 14), (7, 7), (1000, 1001)):
        monkeypatch.setattr("securefl_protocols.encoding.fixed_point._SMALLEST_CHUNK", smallest)
        monkeypatch.setattr("securefl_protocols.encoding.fixed_point._LARGEST_CHUNK", largest)
        encoded = form.encode(update, 77)
        assert encoded.dtype == ring.dtype
        assert np.array_equal(encoded[:-1].view(ring.signed_dtype), expected)


@settings(max_examples=200, deadline=None)
@given(
    members=st.integers(1, 5000),
    max_weight=st.integers(1, 10**6),
    limit=st.floats(1e-12, 1e9),
    ring=st.sampled_from(RingDtype),
)
def test_the_finest_format_cannot_wrap_and_the_next_one_could(members, max_weight, limit, ring):
    form = FixedPoint.finest(members=members, max_weight=max_weight, limit=limit, ring=ring)
    assert members * form.largest_input <= ring.largest
    with pytest.raises(PlanError):
        FixedPoint(members, max_weight, limit, ring, form.fraction_bits + 1)
    extreme = np.array([limit, -limit], dtype=np.float64)
    reached = form.encode(extreme, max_weight).view(ring.signed_dtype)
    assert reached[:2].tolist() == [form.largest_integer, -form.largest_integer]
    assert np.abs(reached).max() <= form.largest_input
    assert form.decode(reached.view(ring.dtype)).total_weight == max_weight


@pytest.mark.parametrize("ring", RingDtype)
def test_a_full_sum_of_extremes_does_not_wrap(ring):
    form = FixedPoint.finest(members=7, max_weight=3, limit=0.3, ring=ring)
    extremes = [np.array([0.3, -0.3])] * 7
    decoded = form.decode(summed(form, extremes, [3] * 7))
    assert decoded.total_weight == 21
    assert np.abs(decoded.mean - [0.3, -0.3]).max() <= form.error_bound(7, 21)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.0000002, -1.0000002])
@pytest.mark.parametrize("at", [0, 4095, 20_000, 39_999])
def test_a_coordinate_out_of_range_is_refused_never_clipped(dtype, bad, at):
    form = FixedPoint.finest(members=3, max_weight=10, limit=1.0, ring=RingDtype.UINT32)
    update = np.zeros(40_000, dtype=dtype)
    update[:2] = 1.0, -1.0
    form.encode(update, 5)
    update[at] = bad
    with pytest.raises(RangeError):
        form.encode(update, 5)


@pytest.mark.parametrize("weight", [-1, 11])
def test_a_weight_out_of_range_is_refused(weight):
    form = FixedPoint.finest(members=3, max_weight=10, limit=1.0, ring=RingDtype.UINT32)
    with pytest.raises(RangeError):
        form.encode(np.zeros(3, dtype=np.float32), weight)


def test_a_weight_is_an_integer():
    form = FixedPoint.finest(members=3, max_weight=10, limit=1.0, ring=RingDtype.UINT32)
    with pytest.raises(TypeError):
        form.encode(np.zeros(3, dtype=np.float32), 2.5)


@pytest.mark.parametrize(
    "update",
    [
        np.zeros(3, dtype=np.int32),
        np.zeros(3, dtype=np.float16),
        np.zeros(3, dtype=">f4"),
        np.zeros((3, 1), dtype=np.float32),
    ],
)
def test_an_update_is_a_float_vector(update):
    form = FixedPoint.finest(members=3, max_weight=10, limit=1.0, ring=RingDtype.UINT32)
    with pytest.raises(LocalProtocolError, match="one axis"):
        form.encode(update, 1)


def test_a_sum_without_or_with_too_much_weight_is_refused():
    form = FixedPoint.finest(members=3, max_weight=10, limit=1.0, ring=RingDtype.UINT32)
    for last in (0, 31, 2**32 - 1):
        with pytest.raises(RangeError):
            form.decode(np.array([5, last], dtype=np.uint32))
    with pytest.raises(LocalProtocolError):
        form.decode(np.array([5, 1], dtype=np.uint64))
    with pytest.raises(LocalProtocolError):
        form.error_bound(0, 5)
    with pytest.raises(LocalProtocolError):
        form.error_bound(1, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"members": 0},
        {"max_weight": 0},
        {"max_weight": 2**53},
        {"limit": 0.0},
        {"limit": math.nan},
        {"limit": math.inf},
        {"limit": 1e308, "fraction_bits": 100},
        {"fraction_bits": 513},
        {"fraction_bits": -40},
        {"fraction_bits": 27},
        {"members": 2**31, "max_weight": 1},
    ],
)
def test_a_plan_that_could_wrap_or_means_nothing_is_refused(changed):
    good = {
        "members": 2,
        "max_weight": 10,
        "limit": 1.0,
        "ring": RingDtype.UINT32,
        "fraction_bits": 20,
    }
    FixedPoint(**good)
    with pytest.raises(PlanError):
        FixedPoint(**{**good, **changed})


@pytest.mark.parametrize("changed", [{"members": 0}, {"limit": -1.0}, {"max_weight": 2**53}])
def test_no_format_is_found_for_what_cannot_be(changed):
    good = {"members": 2, "max_weight": 10, "limit": 1.0, "ring": RingDtype.UINT32}
    with pytest.raises(PlanError):
        FixedPoint.finest(**{**good, **changed})


def test_encoding_stays_within_five_bytes_a_coordinate():
    import tracemalloc

    form = FixedPoint.finest(members=3, max_weight=10, limit=1.0, ring=RingDtype.UINT32)
    update = np.zeros(100_000, dtype=np.float32)
    tracemalloc.start()
    form.encode(update, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 5 * update.size


@pytest.mark.parametrize("limit", [1e300, 1e308, 5e-324, 1e-300, math.inf, math.nan, 0.0, -1.0])
@pytest.mark.parametrize("ring", list(RingDtype))
def test_limits_at_extremes_are_refused_in_own_words(limit, ring):
    """No overflow, no division by zero and no error of numpy comes out of an extreme limit."""
    with pytest.raises(PlanError):
        FixedPoint.finest(members=3, max_weight=1, limit=limit, ring=ring)
