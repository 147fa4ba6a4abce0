"""Numbers beyond the accountants' arithmetic: a finding, and never the end of an audit."""

import contextlib
import json
from dataclasses import replace

import pytest

from securefl.audit.bundle.bundle import parse, to_text
from securefl.audit.bundle.case import Log
from securefl.audit.checks.registry import CHECKS
from securefl.audit.explain import explain
from securefl.audit.life import life_loss
from securefl.audit.verify import OtherBundle, verify
from securefl.consortium.ledger.composition import compose, compose_shared
from securefl.consortium.ledger.events import Release, Start
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.errors import ConfigError
from securefl_cli.rendering.audit import print_explanation
from support.bundle_edits import CHEAT
from support.bundle_scenario import NOW, STEP, honest

NUMBERS = (1e308, 1e200, 1e-200, 5e-324)
"""Their squares are none that a double holds."""


@pytest.fixture(scope="module")
def run():
    step = STEP.model_copy(update={"sampling_rate": 1.0})  # quick to price
    return honest(rounds=1, members=3, masked=False, step=step)


def beyond(noise, rate=0.5):
    return STEP.model_copy(update={"noise_multiplier": noise, "sampling_rate": rate})


def signed_by_a_cheat(run, noise):
    """One member's entries with such a number in each place for it, and whether it is priced."""
    step = beyond(noise)
    record = step.model_copy(update={"unit": "record"})
    yield run.edited(CHEAT, Release, {"mechanism": step}), True
    yield run.edited(CHEAT, Start, {"history": (step,), "epsilon_before": 1.0}), True
    yield run.edited(CHEAT, Start, {"other_units": (record,)}), False


@pytest.mark.parametrize("noise", [1e308, 5e-324])
def test_number_beyond_arithmetic_is_a_finding(run, noise):
    """Signed by a member: the audit and the explanation end, and nothing of it passes as priced."""
    for changed, priced in signed_by_a_cheat(run, noise):
        bundle = changed.seal()
        audit = verify(bundle, now=NOW)
        print_explanation(explain(bundle))
        assert audit.verdict != "pass" or not priced
        assert len(audit.checks) == len(CHECKS) + 1


@pytest.mark.parametrize("noise", [1e308, 5e-324])
def test_number_beyond_arithmetic_in_another_bundle(run, noise):
    """Unsigned, beside the honest one, which passes; the other proves nothing."""
    text = to_text(run.seal()).replace('"noise_multiplier": 2.0', f'"noise_multiplier": {noise!r}')
    text = text.replace(run.consortium.run_id.hex(), "ab" * 32)
    other = OtherBundle(parse(json.loads(text)))
    assert verify(run.seal(), others=(other,), now=NOW).verdict == "pass"


@pytest.mark.parametrize("error", [OverflowError, RecursionError, KeyError, MemoryError])
def test_error_in_another_bundle_is_its_fault(run, error, monkeypatch):
    """Whatever its checks end with; the audited bundle has its verdict."""
    beside = parse(json.loads(to_text(run.seal()).replace(run.consortium.run_id.hex(), "ab" * 32)))

    def broken(case):
        raise error

    monkeypatch.setattr("securefl.audit.verify._fault", broken)
    audit = verify(run.seal(), others=(OtherBundle(beside),), now=NOW)
    found = {check.name: check.reason for check in audit.checks}
    assert audit.verdict == "pass"
    assert f"its audit ended with {error.__name__}" in found["earlier-runs"]


def test_check_that_ends_with_an_error_has_no_result(run, monkeypatch):
    """Whatever a bundle makes of a check, it passes none by it, and the audit goes on."""

    def broken(case):
        raise KeyError("variance")

    spoiled = replace(CHECKS[-1], name="spoiled", run=broken, needs=())
    monkeypatch.setattr("securefl.audit.verify.CHECKS", (*CHECKS[:-1], spoiled))
    audit = verify(run.seal(), now=NOW)
    assert (audit.verdict, audit.missing) == ("incomplete", ("a result of spoiled",))


@pytest.mark.parametrize("without", [Start, None])
def test_nothing_recorded_is_no_loss_of_zero(run, without):
    """Without a start, what was spent before is unknown; without any entry, all of it is."""
    changed = run.changed(
        lambda script: [
            w for w in script if w.member is None or (without and not isinstance(w.event, without))
        ]
    )
    loss = life_loss(Log(changed.seal()), run.consortium.signed.agreement.config.privacy)
    assert (loss.life, loss.everywhere_life) == (None, None)
    assert (loss.run is None) == (without is None)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the libraries, beside their figure
@pytest.mark.parametrize("accountant", ["pld", "rdp"])
@pytest.mark.parametrize("noise", NUMBERS)
def test_price_beyond_arithmetic_is_refused(noise, accountant):
    """No accountant ends with an error of its arithmetic; a price is a number."""
    for rate in (0.5, 1.0):
        step = beyond(noise, rate)
        for price in (
            lambda step=step: compose((step,), 1e-5, accountant),
            lambda step=step: compose_shared({(step, 2): 3}, 1e-5),
        ):
            with contextlib.suppress(LedgerError, ConfigError):
                assert price() >= 0


def test_bundle_without_entries_is_explained(run, capsys):
    """A table without rows has widths, too."""
    tree = json.loads(to_text(run.seal()))
    tree["entries"] = []
    print_explanation(explain(parse(tree)))
    assert "0" in capsys.readouterr().out
