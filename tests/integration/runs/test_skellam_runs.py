"""Skellam shares in a run: the law in the sum, the price in the books, and an audit of both."""

import numpy as np
import pytest
from scipy import stats

from securefl.audit.export import audit_run
from securefl.config.load import load_config
from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.event_base import SkellamMechanism
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.consortium.ledger.transparency_log import open_log
from securefl.errors import ConfigError
from securefl.privacy.budget_table import budget_table
from securefl.privacy.distributed_plan import DistributedPlan

SKELLAM = {"distributed": {"law": "skellam", "colluding": 1}}


def mechanisms(directory, consortium):
    log = open_log(directory.ledger_path, consortium(directory))
    events = [read_entry(data).entry.event for data in log.entries()]
    return [e.mechanism for e in events if e.kind == "release" and e.mechanism is not None]


def test_the_sum_has_the_law_that_is_charged(finished, config, sums_seen, consortium):
    empty = {"rounds": 4, "privacy": {"sampling_rate": 1e-6, "delta": 1e-8, **SKELLAM}}
    _, directory = finished(observer=sums_seen, **empty)
    plan = DistributedPlan.of(config(**empty), 4, sums_seen.totals[0].terms.dimension)
    found = np.concatenate(sums_seen.integers())
    standard = found / plan.noise.summed_deviation(4)
    assert stats.kstest(standard, "norm").pvalue > 1e-4
    chance = stats.chi2.cdf((standard**2).sum(), len(standard))
    assert 1e-4 < chance < 1 - 1e-4
    for charged in mechanisms(directory, consortium):
        assert isinstance(charged, SkellamMechanism)
        assert charged.variance == plan.noise.honest * plan.noise.share_variance
        assert charged.coordinates == plan.code.coordinates


def test_a_run_is_priced_by_the_books_and_by_the_auditor(finished, consortium):
    result, directory = finished(privacy=SKELLAM)
    assert "Skellam" in result.privacy.mechanism
    for member in result.privacy.members:
        assert 2.9 < member.epsilon <= 3.0
        assert member.life == pytest.approx(member.epsilon)
    audit = audit_run(directory.path)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict != "pass"]
    charged = mechanisms(directory, consortium)
    assert compose(charged[:3], 1e-3, "rdp") <= 3.0


@pytest.mark.slow
def test_a_later_run_under_another_law_pays_for_both(finished, tmp_path):
    finished("first", privacy=SKELLAM)
    second, directory = finished("second")
    for member in second.privacy.members:
        assert member.life > 1.2 * member.epsilon
    assert audit_run(directory.path).verdict == "pass"


def test_noise_is_taken_back_under_skellam_too(finished):
    both = {"distributed": {"law": "skellam", "excess": "remove"}}
    _, directory = finished(privacy=both)
    assert audit_run(directory.path).verdict == "pass"


def test_a_plan_says_what_a_run_spends(config):
    skellam = budget_table(config(privacy=SKELLAM))
    gaussian = budget_table(config(privacy={"accountant": "rdp"}))
    assert skellam.rounds[-1].epsilon <= 3.0
    assert skellam.noise_multiplier == pytest.approx(gaussian.noise_multiplier, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"accountant": "prv"}, "accounted by rdp"), ({"unit": "record"}, "customer's records")],
)
def test_what_skellam_noise_has_no_price_for_is_refused(changes, reason):
    privacy = {"dp": "distributed", "epsilon": 1.0, **SKELLAM, **changes}
    with pytest.raises(ConfigError, match=reason):
        load_config(None, {"privacy": privacy})
