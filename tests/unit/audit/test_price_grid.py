"""Over a grid of noises, rates, steps and deltas no honest record fails, and no lie passes."""

import itertools
import math

import pytest

from securefl.audit.accountants.bounds import at_least, at_most, compare, gaussian_epsilon
from securefl.audit.accountants.recompute import BeyondReachError, Claim, compared, under_reported
from securefl.audit.accountants.skellam_rdp import SkellamStep, renyi_epsilon
from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.event_base import SkellamMechanism
from securefl.errors import ConfigError
from support.bundle_scenario import STEP

SIGMAS = (1e-3, 0.02, 0.05, 0.5, 1.0, 10.0, 1e3, 1e7)
RATES = (1e-9, 1e-7, 1e-5, 1e-3, 0.1, 1.0)
COUNTS = (1, 100, 10**4, 10**6, 10**8)
DELTAS = (1e-9, 1e-5, 1e-2)
SAMPLE = (
    (0.05, 1e-9, 1, 1e-9),
    (1.0, 1e-9, 10**6, 1e-9),
    (0.02, 1.0, 100, 1e-5),
    (1e7, 1.0, 10**6, 1e-5),
)
"""Where a figure alone accused an honest member: clamped rates, distributions out of reach."""


def mechanism(sigma, rate, count, accountant):
    fields = {"noise_multiplier": sigma, "sampling_rate": rate, "steps": count}
    return STEP.model_copy(update={**fields, "accountant": accountant})


def judged(step, recorded, delta, charged_by):
    """What the audit makes of a record: "within", "above" or "unknown"."""
    claims = [Claim("x", (step,), recorded)]
    try:
        faults = list(under_reported(claims, delta, charged_by))
    except BeyondReachError:
        return "unknown"
    return compared([step], delta, recorded) if faults else "within"


def check(sigma, rate, count, delta, charged_by):
    step = mechanism(sigma, rate, count, charged_by)
    honest = compose([step], delta, charged_by)
    if not math.isfinite(honest):
        return  # it cannot be recorded
    assert judged(step, honest, delta, charged_by) != "above"
    least = at_least({(sigma, rate): count}, delta)
    assert least <= honest * (1 + 1e-9)
    lie = 0.8 * least - 0.01
    if lie > 0:
        assert judged(step, lie, delta, charged_by) != "within"


@pytest.mark.parametrize("point", SAMPLE, ids=str)
def test_no_honest_record_fails(point):
    check(*point, "rdp")


@pytest.mark.slow
@pytest.mark.parametrize("charged_by", ["rdp", "pld"])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_no_honest_record_fails_on_the_grid(sigma, charged_by):
    for rate, count, delta in itertools.product(RATES, COUNTS, DELTAS):
        check(sigma, rate, count, delta, charged_by)


@pytest.mark.parametrize("rate", [1e-12, 1e-7, 1e-3, 1.0])
@pytest.mark.parametrize("count", [1, 10**6])
def test_no_honest_skellam_record_fails(rate, count):
    for sigma, sensitivity, delta in itertools.product((0.05, 1.0, 1e3), (1.5, 1e4), (1e-9, 1e-5)):
        step = SkellamMechanism(
            **mechanism(sigma, rate, count, "rdp").model_dump()
            | {"name": "sampled-skellam", "coordinates": 200, "sensitivity": sensitivity},
            variance=max(1, round((sigma * sensitivity) ** 2)),
        )
        try:
            honest = compose([step], delta, "rdp")
        except ConfigError:
            continue  # not a number: it is refused and not recorded
        if math.isfinite(honest):
            assert judged(step, honest, delta, "rdp") != "above"
            if honest > 0.1:
                assert judged(step, 0.8 * honest, delta, "rdp") != "within"


@pytest.mark.parametrize(("sigma", "rate"), [(3.0, 1.0), (0.7, 0.01)])
def test_bounds_enclose_the_known_answer(sigma, rate):
    """One step: Li, Qardaji and Su 2012 on the Gaussian's own curve."""
    whole = gaussian_epsilon(1 / sigma, 1e-5 / rate)
    exact = [math.log1p(rate * math.expm1(end)) for end in whole]
    steps = {(sigma, rate): 1}
    assert at_least(steps, 1e-5) <= exact[1]
    assert exact[0] <= at_most(steps, 1e-5) <= exact[1] + 1e-3
    assert at_least(steps, 1e-5) >= exact[0] - 1e-3


def test_no_noise_at_all_is_above_every_record():
    assert compare({(0.0, 1.0): 1}, 1e-5, 1e308) == "above"
    assert compare({(0.0, 0.5): 1}, 1e-5, 1e308) == "above"


def test_orders_that_overflow_prove_nothing():
    """The Skellam sum is infinite where its orders overflow: that accuses nobody."""
    step = SkellamStep(1, 1e200, 10, 0.5)
    assert renyi_epsilon({step: 1}, 1e-5) == math.inf
    assert at_least({step: 1}, 1e-5) == 0
    assert compare({step: 1}, 1e-5, 5.0) == "unknown"


def test_a_price_that_is_missing_is_never_small():
    """Out of reach, both bounds say nothing: no record is confirmed by them."""
    steps = {(1e-3, 0.5): 10**8}
    assert at_most(steps, 1e-9) > 1e6
    assert compare(steps, 1e-9, 1.0) == "above"
