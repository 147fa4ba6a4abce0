"""Without noise, the decoded sum is the members' sum in the clear, bit for bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.federation.scores.exact import BITS, MOST_MEMBERS, ExactLayout
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums, Ratio, total

LAYOUT = ExactLayout(
    (
        MetricSpec("hr", True, "cases"),
        MetricSpec("ndcg", True, "cases"),
        MetricSpec("rmse", False, "series", root=True),
        MetricSpec("wape", False),
    )
)
VALUE = st.floats(-1e21, 1e21).filter(lambda value: value == 0 or abs(value) > 1e-3)
COUNT = st.floats(0, 1e15).map(math.floor).map(float)


def sums_of(hr, ndcg, rmse, wape, cases, series, sold):
    return MetricSums(
        {
            "hr": Ratio(hr, cases),
            "ndcg": Ratio(ndcg, cases),
            "rmse": Ratio(rmse, series, root=True),
            "wape": Ratio(wape, sold),
        }
    )


MEMBER = st.builds(sums_of, VALUE, VALUE, VALUE, VALUE, COUNT, COUNT, VALUE)


@settings(max_examples=100, deadline=None)
@given(st.lists(MEMBER, min_size=1, max_size=6))
def test_exact_sum_equals_the_sum_in_the_clear(members):
    """Both are rounded once, to the nearest float64."""
    found = LAYOUT.metric_sums(np.sum([LAYOUT.integers(one) for one in members], axis=0))
    assert found == total(members)


def test_equal_denominators_are_sent_once():
    """Four metrics have three distinct denominators here."""
    assert LAYOUT.denominators == ("cases", "series", "of wape")
    assert LAYOUT.dimension == 4 * (4 + 3)


def test_no_limb_can_wrap_around():
    """The largest limbs of as many members as there may be stay within the ring."""
    largest = math.nextafter(2.0**79, 0)
    for value in (largest, -largest, 2.0**-64 * (1 << BITS) - 2.0**-64):
        limbs = LAYOUT.integers(sums_of(value, value, 1.0, 1.0, 1.0, 1.0, 1.0))
        assert all(abs(int(limb)) * MOST_MEMBERS < 1 << 63 for limb in limbs)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**79])
def test_what_does_not_fit_is_not_a_number(value):
    """A diverged member makes the total NaN, as in the clear, and never a wrong number."""
    members = [sums_of(value, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), sums_of(*[2.0] * 7)]
    found = LAYOUT.metric_sums(np.sum([LAYOUT.integers(one) for one in members], axis=0))
    assert math.isnan(found.ratios["hr"].value)
    assert found.ratios["ndcg"] == Ratio(3.0, 3.0)


def test_a_denominator_of_its_own_is_refused():
    """Metrics that the task declares to share a denominator cannot differ in it."""
    wrong = sums_of(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0).ratios | {"ndcg": Ratio(1.0, 2.0)}
    with pytest.raises(ValueError, match="denominator of its own"):
        LAYOUT.integers(MetricSums(wrong))


def test_other_metrics_are_refused():
    """The layout is public, and a member cannot add to it."""
    with pytest.raises(ValueError, match="other metrics"):
        LAYOUT.integers(MetricSums({"hr": Ratio(1.0, 1.0)}))
