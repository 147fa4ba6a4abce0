"""A whole retailer as the unit, in a run of many of them."""

import numpy as np
import pytest
from scipy import stats

from securefl.audit.attacks.run import attack
from securefl.audit.export import audit_run
from securefl.config.load import load_config
from securefl.errors import ConfigError, SecureflError
from securefl.federation.aggregation.session_parameters import SessionParams, encode_update
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.budget_table import budget_table
from securefl.privacy.distributed_plan import DistributedPlan
from securefl.privacy.encoding.gradients import client_update_encoding
from securefl.privacy.encoding.lanes import noised_encoding
from securefl.privacy.statement import guarantee
from securefl.tasks.registry import check_model

RETAILERS = 40


@pytest.fixture
def config():
    """A consortium of forty small retailers."""

    def make(retailers=RETAILERS, training=None, **privacy):
        return load_config(
            None,
            {
                "task": "recommendation",
                "mode": "secure",
                "rounds": 2,
                "data": {
                    "source": "tutorial",
                    "table": "ratings",
                    "retailers": retailers,
                    "customers": 12,
                    "items": 20,
                    "interactions": [40, 60],
                    "shared_items": True,
                },
                "model": {"name": "rating-ncf", "dim": 2, "hidden": 4},
                "training": training or {"local_epochs": 1},
                "references": {"enabled": False},
                "engine": {"workers": 1},
                "privacy": {
                    "dp": "distributed",
                    "unit": "member",
                    "epsilon": 4.0,
                    "delta": 1e-3,
                    "clip_norm": 0.5,
                    **privacy,
                },
            },
        )

    return make


@pytest.fixture
def finished(tmp_path, config):
    def make(observer=None, **privacy):
        directory = RunDirectory.create(tmp_path / "run", config(**privacy))
        return run(directory, observer=observer), directory

    return make


@pytest.mark.slow
def test_a_run_of_forty_hides_every_one_of_them(finished):
    result, directory = finished()
    privacy = result.privacy
    assert (privacy.unit, privacy.delta) == ("member", 1e-3)
    assert len(privacy.members) == RETAILERS
    for member in privacy.members:
        assert 3.9 < member.epsilon <= 4.0
        assert (member.sampling_rate, member.steps, member.clip_norm) == (1.0, 2, 0.5)
    assert "whole update" in guarantee(privacy)
    assert "one member's update or zero" in privacy.adjacency
    audit = audit_run(directory.path)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict != "pass"]
    assert privacy.members[0].customer_epsilon == pytest.approx(
        epsilon_of([SampledGaussian(privacy.members[0].noise_multiplier / 2, 1.0, 2)], 1e-3)
    )


@pytest.mark.slow
def test_the_noise_in_the_sum_has_the_claimed_law(finished, config, sums_seen):
    """Where nobody learns anything, all that is summed is noise."""
    still = {"training": {"local_epochs": 1, "learning_rate": 1e-30}}
    finished(observer=sums_seen, **still)
    dimension = sums_seen.totals[0].terms.dimension
    plan = DistributedPlan.of(config(**still), RETAILERS, dimension)
    found = np.concatenate(sums_seen.integers())
    standard = found / plan.noise.summed_deviation(RETAILERS)
    assert len(standard) == 2 * plan.code.coordinates
    assert stats.kstest(standard, "norm").pvalue > 1e-4
    chance = stats.chi2.cdf((standard**2).sum(), len(standard))
    assert 1e-4 < chance < 1 - 1e-4


def test_a_sum_of_whole_updates_decodes_to_their_mean(config):
    chosen, dimension = config(), 300
    code = client_update_encoding(chosen, dimension)
    largest = code.sensitivity.l2 * 2.0**-code.bits
    encoding = noised_encoding(chosen, 3, code.bits, largest, 0)
    updates = np.random.default_rng(0).normal(0, 0.01, (3, dimension))
    updates[0] *= 100  # clipped
    inputs = [
        encode_update(encoding, np.ldexp(code.whole.encode(u).astype(float), -code.bits), 0.0, 1)
        for u in updates
    ]
    terms = SessionParams(encoding, None, None, dimension, None, code.whole.rotation)
    mean = terms.decode(sum(inputs), {}).mean
    clipped = [u * min(1, chosen.privacy.clip_norm / np.linalg.norm(u)) for u in updates]
    assert mean.shape == (dimension,)
    assert np.abs(mean - np.mean(clipped, axis=0)).max() < 1e-4


def test_five_retailers_cannot_hide_one_of_them(tmp_path, config):
    directory = RunDirectory.create(tmp_path / "run", config(retailers=5, epsilon=1.0))
    with pytest.raises(ConfigError, match="5 members cannot hide one of them"):
        run(directory)


def test_an_update_that_might_not_fit_the_format_is_refused_before_it_is_made(tmp_path, config):
    directory = RunDirectory.create(tmp_path / "run", config(clip_norm=40.0))
    with pytest.raises(ConfigError, match=r"twice privacy\.clip_norm"):
        run(directory)


def test_delta_is_held_against_the_number_of_members(tmp_path, config):
    directory = RunDirectory.create(tmp_path / "run", config(delta=0.03))
    with pytest.raises(SecureflError, match="1 over the agreed number of members"):
        run(directory)


def test_a_budget_is_planned_for_members_and_their_customers(config):
    table = budget_table(config()).to_json()
    assert table["unit"] == "member"
    last = table["rounds"][-1]
    assert 3.9 < last["epsilon"] <= 4.0 < last["customer_epsilon"]


@pytest.mark.parametrize(
    ("privacy", "reason"),
    [
        ({"dp": "local"}, "only a sum hides a member"),
        ({"sampling_rate": 0.5}, "every update is in the sum"),
    ],
)
def test_what_no_sum_of_updates_can_do_is_refused(config, privacy, reason):
    with pytest.raises(ConfigError, match=reason):
        config(**privacy)


def test_a_model_that_is_no_sum_of_updates_hides_no_member():
    options = {
        "task": "demand",
        "privacy": {"dp": "distributed", "epsilon": 1.0, "unit": "member"},
    }
    with pytest.raises(ConfigError, match="cannot hide a member"):
        check_model(load_config(None, options))


def test_an_attack_on_customers_does_not_pretend_to_judge_members(config):
    with pytest.raises(ConfigError, match="no member"):
        attack(config())
