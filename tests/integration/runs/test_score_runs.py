"""Whole runs: the scores that every party sees, their price, and what an audit says of them."""

import dataclasses

import numpy as np
import pytest

from securefl.audit.explain import explain
from securefl.audit.export import audit_run, bundle_of
from securefl.config.schema import Dropout
from securefl.consortium.ledger.account_statements import accounts
from securefl.consortium.ledger.events import ScoreRelease
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.score_plan import score_event

LOCAL = {"dp": "local", "epsilon": 8.0}
DISTRIBUTED = {"dp": "distributed", "epsilon": 8.0}
KINDS = [("ratings", "federated", "accuracy"), ("purchases", "released", "hr@10")]


def test_exact_sums_of_a_masked_run_equal_plain(small_run):
    """Round after round and at the end, bit for bit what the members' sums are in the clear.

    Changes of the model have lanes of 64 bits here, so that both runs score the same models.
    """
    masked, masked_run = small_run("masked", "purchases", secure={"bits": 64})
    plain, plain_run = small_run("plain", "purchases", mode="plain")
    for one, other in zip(masked_run.records(), plain_run.records(), strict=True):
        assert one.validation == other.validation
        assert one.best == other.best
    for arm in ("federated", "naive"):
        shown = {name: score.value for name, score in masked.scores.arms[arm].items()}
        assert shown == plain.metrics[arm] == masked.metrics[arm]
    assert all(s.standard_error == 0 for s in masked.scores.arms["federated"].values())
    assert plain.scores is None


@pytest.mark.parametrize(("kind", "arm", "metric"), KINDS)
@pytest.mark.parametrize("privacy", [pytest.param(LOCAL, marks=pytest.mark.slow), DISTRIBUTED])
def test_a_private_run_releases_noised_scores(small_run, kind, arm, metric, privacy):
    """One masked sum, charged once by each member; the audit of the run passes."""
    result, directory = small_run("private", kind, privacy=privacy)
    scores, names = result.scores, tuple(member.name for member in result.members)
    assert list(scores.arms) == [arm]
    assert metric in scores.arms[arm]
    assert scores.survivors == names
    assert scores.epsilon == pytest.approx(0.4)
    bundle = bundle_of(directory.path)
    charged = [
        entry.entry for entry in bundle.entries if isinstance(entry.entry.event, ScoreRelease)
    ]
    assert sorted(entry.member for entry in charged) == sorted(names)
    verdicts = {check.name: check.verdict for check in audit_run(directory.path).checks}
    assert verdicts["scores-agreed"] == "pass"
    assert "fail" not in verdicts.values()


@pytest.mark.parametrize("privacy", [pytest.param(LOCAL, marks=pytest.mark.slow), DISTRIBUTED])
def test_training_and_scores_cost_the_budget_at_most(small_run, books, privacy):
    """Recomputed from the ledger and by the second accountant: within epsilon, and near it."""
    result, directory = small_run("budget", "ratings", privacy=privacy)
    event = score_event(directory.config)
    for member in result.privacy.members:
        trained = SampledGaussian(member.noise_multiplier, member.sampling_rate, member.steps)
        assert member.score_noise == event.noise_multiplier
        assert 7.0 < epsilon_of([trained, event], 1e-5) <= 8.0
        assert member.epsilon == pytest.approx(epsilon_of([trained, event], 1e-5))
        (account,) = accounts(books, member=member.name)
        assert account.epsilon == pytest.approx(member.epsilon)
    for account in explain(bundle_of(directory.path)).members:
        assert account.steps == result.privacy.members[0].steps + 1
        assert account.epsilon_recomputed <= 8.0


def test_no_score_leaves_with_a_share_of_nothing(small_run):
    """Nothing is charged for scores, and the result says why there is none."""
    result, directory = small_run("nothing", "ratings", privacy={**LOCAL, "scores": 0.0})
    assert result.scores.arms == {}
    assert result.scores.withheld == {"all": "privacy.scores is 0"}
    events = [entry.entry.event for entry in bundle_of(directory.path).entries]
    assert not any(isinstance(event, ScoreRelease) for event in events)
    assert all(member.score_noise is None for member in result.privacy.members)


def test_a_task_without_a_bound_names_it(small_run):
    """Demand has no score that one unit moves by a bound: none leaves."""
    result, _ = small_run("demand", "demand", privacy={**LOCAL, "unit": "record"})
    assert result.scores.arms == {}
    assert "has a bound for one record" in result.scores.withheld["all"]


def test_results_with_scores_survive_their_file(small_run):
    """Read back from result.json, NaN included."""
    result, directory = small_run("file", "ratings", privacy=LOCAL)
    again = directory.result()
    assert repr(again.scores) == repr(result.scores)


def test_a_dropout_of_the_last_round_is_in_the_scores(small_run):
    """Scores have a session of their own, in which the member is there again."""
    gone = Dropout(member="retailer-1", round=3, step="masked-input")
    result, _ = small_run(
        "gone", "ratings", privacy=DISTRIBUTED, simulation={"dropouts": [gone.model_dump()]}
    )
    assert "retailer-1" in result.scores.survivors


def test_scores_of_a_large_budget_are_near_the_exact_ones(small_run):
    """With little noise, released scores are those of the bounded units themselves."""
    small = small_run("large", "purchases", privacy={**LOCAL, "epsilon": 40.0, "scores": 0.5})
    score = small[0].scores.arms["released"]["hr@10"]
    assert 0.0 <= score.value <= 1.0 + 5 * score.standard_error
    assert 0 < score.standard_error < 0.05
    assert np.isfinite(dataclasses.astuple(score)).all()
