import contextlib
import inspect
import sys

import pytest

from securefl.audit.accountants import recompute
from securefl.audit.accountants import skellam_rdp as renyi_orders
from securefl.audit.accountants.bounds import tolerance
from securefl.audit.accountants.recompute import (
    BeyondReachError,
    Claim,
    UnpricedError,
)
from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.event_base import Mechanism, SkellamMechanism
from securefl.privacy.accounting.pld import Composition
from support.bundle_scenario import STEP

DELTA = 1e-5


def epsilon_of(mechanisms, delta, charged_by="rdp"):
    return recompute.epsilon_of(mechanisms, delta, charged_by)


def under_reported(claims, delta, charged_by="rdp"):
    return recompute.under_reported(claims, delta, charged_by)


def claims(count, price, **fields):
    """So many rounds, each recorded at what `price` makes of the honest figure."""
    step = STEP.model_copy(update=fields)
    made, total = [], []
    for number in range(count):
        total.append(step)
        honest = compose(total, DELTA, step.accountant)
        made.append(Claim(f"round {number}", (step,), price(number, honest)))
    return made


@pytest.mark.parametrize("accountant", ["pld", "prv", "rdp"])
@pytest.mark.parametrize("rate", [STEP.sampling_rate, 0.5, 1.0])
def test_honest_records_are_never_too_low(accountant, rate):
    honest = claims(2, lambda _, epsilon: epsilon, accountant=accountant, sampling_rate=rate)
    assert list(under_reported(honest, DELTA, accountant)) == []


def test_without_opacus_pld_is_computed_anew(monkeypatch):
    """An auditor's wheel has no Opacus: the price is as sharp, and its origin is stated."""
    fields = {"sampling_rate": 0.5, "noise_multiplier": 3.7}
    record = claims(1, lambda _, epsilon: epsilon, accountant="pld", **fields)
    steps = record[0].mechanisms
    assert recompute.computed_by(steps, "pld") == "a second accountant"
    monkeypatch.setattr(recompute, "installed", lambda: False)
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    recompute._priced.cache_clear()
    assert recompute.computed_by(steps, "pld") == "the same accountant, computed anew"
    assert list(under_reported(record, DELTA, "pld")) == []
    low = [Claim("round 0", steps, 0.99 * record[0].epsilon)]
    assert [claim for claim, _ in under_reported(low, DELTA, "pld")] == low


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_what_pld_charged_is_priced_by_another(rate, monkeypatch):
    """Neither code that computed the record computes it again."""
    steps = {"sampling_rate": rate, "noise_multiplier": 3.0 + rate}
    record = claims(1, lambda _, epsilon: epsilon, accountant="pld", **steps)
    first = "pld.Composition" if rate < 1 else "analytic_gaussian.gaussian_epsilon"

    def refuse(*_):
        raise AssertionError("the record's own accountant")

    monkeypatch.setattr(f"securefl.privacy.accounting.{first}", refuse)
    monkeypatch.setattr(recompute, first.split(".")[1], refuse, raising=False)
    (mechanism,) = record[0].mechanisms
    second = epsilon_of([mechanism], DELTA, "pld")
    assert second == pytest.approx(record[0].epsilon, rel=1e-3)
    low = [Claim("x", (mechanism,), second - 1.1 * tolerance(second))]
    assert len(list(under_reported(low, DELTA, "pld"))) == 1


def test_every_record_that_is_too_low_is_named_and_no_other():
    low = {3, 4, 9}
    found = under_reported(claims(12, lambda n, e: 0.5 * e if n in low else e), DELTA)
    assert [claim.where for claim, _ in found] == [f"round {n}" for n in sorted(low)]


def test_a_record_below_the_price_by_more_than_the_numbers_err_is_too_low():
    price = epsilon_of([STEP], DELTA)
    for slack, faults in ((0.9, 0), (1.1, 1)):
        recorded = price - slack * tolerance(price)
        assert len(list(under_reported([Claim("x", (STEP,), recorded)], DELTA))) == faults


def test_a_later_claim_pays_for_what_was_said_before():
    nothing = Claim("end", (), 0.1)
    found = list(under_reported([*claims(3, lambda _, e: e), nothing], DELTA))
    assert [claim.where for claim, _ in found] == ["end"]


def test_what_has_no_price():
    with pytest.raises(UnpricedError, match="laplace"):
        epsilon_of([STEP.model_copy(update={"name": "laplace"})], DELTA)
    with pytest.raises(BeyondReachError, match="too small"):
        epsilon_of([STEP], 1e-15)
    many = [STEP.model_copy(update={"noise_multiplier": 2.0 + n}) for n in range(200)]
    with pytest.raises(BeyondReachError, match="too many"):
        epsilon_of(many, DELTA)
    assert list(under_reported([], DELTA)) == []
    assert epsilon_of([], DELTA) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"noise_multiplier": 0.0},
        pytest.param({"noise_multiplier": 1e300}, marks=pytest.mark.slow),
        {"noise_multiplier": 1e-300},
        {"sampling_rate": 1e-300},
        {"steps": 2**53 - 1},
        {"sampling_rate": 1.0, "steps": 2**53 - 1, "noise_multiplier": 1e4},
    ],
)
def test_no_number_of_a_cheat_breaks_the_accountant(fields):
    for charged_by in ("pld", "rdp"):
        with contextlib.suppress(BeyondReachError):
            epsilon = epsilon_of([STEP.model_copy(update=fields)], DELTA, charged_by)
            assert epsilon >= 0
        assert charged_by == "pld" or epsilon >= 0


def skellam(sigma, sensitivity=1000.0, coordinates=200, **fields):
    numbers = STEP.model_dump() | fields
    return SkellamMechanism(
        **numbers
        | {
            "name": "sampled-skellam",
            "noise_multiplier": sigma,
            "variance": round((sigma * sensitivity) ** 2),
            "sensitivity": sensitivity,
            "coordinates": coordinates,
            "accountant": "rdp",
        }
    )


@pytest.mark.parametrize("sigma", [0.7, 2.0, 9.0])
@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("sensitivity", [3.0, 1000.0])
def test_skellam_steps_are_priced_twice_and_alike(sigma, rate, sensitivity):
    charged = [skellam(sigma, sensitivity, sampling_rate=rate, steps=n) for n in (1, 40)]
    charged.append(STEP.model_copy(update={"accountant": "rdp"}))
    ours = epsilon_of(charged, DELTA)
    assert ours == pytest.approx(compose(charged, DELTA, "rdp"), rel=1e-6)
    assert ours > epsilon_of(charged[-1:], DELTA)


def test_a_skellam_record_that_is_too_low_is_named():
    step = skellam(1.0)
    honest = compose([step], DELTA, "rdp")
    found = under_reported([Claim("x", (step,), honest), Claim("y", (step,), honest)], DELTA)
    assert [claim.where for claim, _ in found] == ["y"]


def test_skellam_noise_costs_more_than_a_gaussian_of_its_deviation():
    few = skellam(1.0, 2.0, 3, sampling_rate=1.0, steps=10)
    gaussian = Mechanism(
        **few.model_dump(include=set(Mechanism.model_fields)) | {"name": STEP.name}
    )
    assert epsilon_of([few], DELTA) > epsilon_of([gaussian], DELTA)


@pytest.mark.parametrize(
    "numbers",
    [
        {"variance": 1, "sensitivity": 1e300},
        {"variance": 1, "coordinates": 2**53 - 1},
        {"variance": 2**53 - 1, "sensitivity": 1e-300},
        {"steps": 2**53 - 1},
        {"sampling_rate": 5e-324},
    ],
)
def test_no_skellam_number_of_a_cheat_breaks_the_accountant(numbers):
    epsilon = epsilon_of([skellam(1.0).model_copy(update=numbers)], DELTA)
    assert epsilon >= 0


def test_the_second_accountant_shares_no_code_with_the_first():
    source = inspect.getsource(renyi_orders)
    assert "securefl.privacy" not in source
    assert "opacus" not in source.lower().replace("of opacus", "")


def test_a_missing_accountant_is_no_figure(monkeypatch):
    """Without the package there is no epsilon, and not a small one."""
    monkeypatch.setitem(sys.modules, "dp_accounting.pld.privacy_loss_distribution", None)
    step = STEP.model_copy(update={"noise_multiplier": 1.75})
    with pytest.raises(BeyondReachError, match=r"needs the package dp_accounting"):
        epsilon_of([step], DELTA)


def test_a_library_that_gives_up_is_no_figure(monkeypatch):
    def refuse(*_):
        raise ValueError("deltas are not in non-increasing order")

    monkeypatch.setattr(Composition, "epsilon", refuse)
    step = STEP.model_copy(update={"noise_multiplier": 1.85})
    with pytest.raises(BeyondReachError, match="cannot price this"):
        epsilon_of([step], DELTA)
