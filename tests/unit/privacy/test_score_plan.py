"""Scores and training together keep to the budget, and scores alone cost their share of it."""

import math

import pytest

from securefl.config.load import load_config, merge
from securefl.federation.scores.bounded import sensitivity
from securefl.privacy import plan as plans
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.budget_table import budget_table
from securefl.privacy.distributed_plan import DistributedPlan
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise import shares
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.score_plan import (
    least_multiplier,
    score_budget,
    score_event,
    score_noise,
    score_table,
)
from support.small_runs import SMALL_DEMAND, SMALL_RATINGS

LOCAL = {"dp": "local", "epsilon": 4.0, "sampling_rate": 0.25, "steps": 3}
DISTRIBUTED = {"dp": "distributed", "epsilon": 4.0, "sampling_rate": 0.25}
SKELLAM = {**DISTRIBUTED, "distributed": {"law": "skellam"}}
MEMBER = {"dp": "distributed", "unit": "member", "epsilon": 8.0}


def config_of(privacy, base=SMALL_RATINGS, **changes):
    return load_config(None, merge(dict(base), {"privacy": privacy, **changes}))


def exact_delta(sigma, epsilon):
    """Delta of a Gaussian release, integrated numerically from its densities."""
    from scipy import integrate, stats

    law, other = stats.norm(0, sigma), stats.norm(1, sigma)
    crossing = 0.5 + epsilon * sigma**2  # where the densities differ by the factor e^epsilon
    found, _ = integrate.quad(
        lambda x: other.pdf(x) - math.exp(epsilon) * law.pdf(x),
        crossing,
        crossing + 40 * sigma,
        epsabs=1e-14,
        limit=400,
    )
    return found


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 1.0, 5.0])
def test_least_multiplier_is_the_exact_price(epsilon):
    """Its delta, integrated, is the budget's; a little less noise costs more."""
    sigma = least_multiplier(Budget(epsilon, 1e-5))
    assert exact_delta(sigma, epsilon) == pytest.approx(1e-5, rel=1e-4)
    assert exact_delta(sigma / 1.01, epsilon) > 1e-5


@pytest.mark.parametrize(
    ("privacy", "epsilon", "accountant"),
    [
        *((one, e, "rdp") for one in (LOCAL, DISTRIBUTED, SKELLAM) for e in (0.3, 1.0, 4.0, 8.0)),
        (LOCAL, 1.0, "prv"),
    ],
)
def test_training_and_scores_keep_to_the_budget(privacy, epsilon, accountant):
    """Composed by the run's accountant, all events of a run are within its epsilon."""
    config = config_of({**privacy, "epsilon": epsilon, "accountant": accountant})
    plan = PrivacyPlan.of(config)
    trained = mechanism_for(config.privacy).planned_event(config, plan)
    events = [trained, score_event(config)]
    assert plan.reserved == (events[1],)
    assert epsilon_of(events, 1e-5, accountant) <= epsilon
    assert epsilon_of([trained], 1e-5, accountant) < epsilon


@pytest.mark.parametrize("privacy", [DISTRIBUTED, SKELLAM])
def test_shares_of_rounds_leave_room_for_scores(privacy):
    """All rounds of a distributed run, with the scores, are within the budget."""
    config = config_of(privacy)
    plan = DistributedPlan.of(config, 5, 800)
    rounds = [plan.event] * config.rounds
    everything = [*rounds, score_event(config)]
    assert epsilon_of(everything, 1e-5, config.privacy.accountant) <= 4.0


def test_a_round_charged_twice_leaves_room_for_scores():
    """After a kill, the later rounds' noise pays for the repeated one and for the scores."""
    config = config_of({**LOCAL, "accountant": "rdp"})
    plan = PrivacyPlan.of(config)
    spent = [plan.event(plan.sigma(config.rounds))] * 2
    later = plan.event(plan.sigma(config.rounds - 1, spent), config.rounds - 1)
    assert later.noise_multiplier > spent[-1].noise_multiplier
    assert plan.epsilon([*spent, later, *plan.reserved]) <= 4.0


def test_scores_charged_early_are_no_training():
    """Noise of the scores is not taken for a round's, and is owed once."""
    plan = PrivacyPlan.of(config_of(LOCAL))
    first = plan.event(plan.sigma(3))
    assert plan.sigma(2, [first, *plan.reserved]) == plan.sigma(2, [first])
    spending = plan.spending([first, *plan.reserved])
    assert spending.steps == first.steps
    assert spending.noise_multiplier == first.noise_multiplier
    assert spending.score_noise == plan.reserved[0].noise_multiplier


def test_a_larger_share_buys_less_noise_for_scores():
    """What scores get, training loses."""
    noise = {}
    for share in (0.02, 0.05, 0.2):
        config = config_of({**LOCAL, "scores": share})
        noise[share] = (score_event(config).noise_multiplier, PrivacyPlan.of(config).sigma(3))
    assert noise[0.02][0] > noise[0.05][0] > noise[0.2][0]
    assert noise[0.02][1] < noise[0.05][1] < noise[0.2][1]


@pytest.mark.parametrize(
    ("privacy", "base"),
    [
        ({**LOCAL, "scores": 0.0}, SMALL_RATINGS),
        (LOCAL, SMALL_DEMAND),
        (MEMBER, SMALL_RATINGS),
        ({}, SMALL_RATINGS),
    ],
)
def test_nothing_is_reserved_where_no_score_leaves(privacy, base):
    """A share of 0, a task or unit without a bound, no budget: no event, and no noise."""
    config = config_of(privacy, base)
    assert score_budget(config) is score_event(config) is None
    if score_table(config) is not None:
        assert score_noise(config, 5, sensitivity(score_table(config))) is None
    if privacy:
        assert PrivacyPlan.of(config).reserved == ()


def test_honest_shares_alone_have_the_scores_noise():
    """With shared noise the fewest honest survivors are enough; local noise is whole in each."""
    for privacy, honest in ((LOCAL, 1), (DISTRIBUTED, 3)):
        config = config_of(privacy)
        moved = sensitivity(score_table(config))
        noise, event = score_noise(config, 5, moved), score_event(config)
        assert noise.honest == honest
        assert noise.deviation >= event.noise_multiplier * moved.l2
        assert noise.deviation < 1.001 * event.noise_multiplier * moved.l2 + 1


def test_the_budget_table_says_what_scores_cost():
    """Before training, the plan shows the noise of the scores and the total with them."""
    config = config_of(LOCAL)
    table = budget_table(config)
    assert table.score_noise == score_event(config).noise_multiplier
    assert table.rounds[-1].epsilon < table.total <= 4.0
    assert budget_table(config_of({**LOCAL, "scores": 0.0})).score_noise is None


@pytest.mark.parametrize("privacy", [LOCAL, DISTRIBUTED, SKELLAM])
@pytest.mark.parametrize("scores", [0.0, 0.1])
def test_reserve_is_subtracted_once_for_each_noise(privacy, scores, monkeypatch):
    """Under shared noise it was subtracted again from what was left: more noise, for nothing."""
    asked = []

    def noted(budget, noises=1):
        asked.append((budget.epsilon, noises))
        return subtracted(budget, noises)

    subtracted = shares.set_aside
    config = config_of({**privacy, "scores": scores})
    for module in (plans, shares):
        monkeypatch.setattr(module, "set_aside", noted)
    plan = PrivacyPlan.of(config)
    kept = plan.kept
    if privacy is not LOCAL:
        _ = DistributedPlan.of(config, 5, 800).noise
    noises = 2 if scores else 1
    assert set(asked) == {(4.0, noises)}
    assert kept.epsilon == pytest.approx(4.0 * (1 - noises * 1e-6), rel=1e-12)
