"""What ballots cost under shared noise, and what is read off a noised projection."""

import math
from fractions import Fraction

import numpy as np
import pytest

from securefl.config.load import load_config
from securefl.federation.scores.judgement import ACCEPT, DIRECTION
from securefl.federation.scores.noised_judgement import PublicChange, noised_ballot
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.budget_table import budget_table
from securefl.privacy.encoding.gradients import (
    SumEncoding,
    gradient_signal,
    gradient_sum_encoding,
)
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.score_plan import score_event
from securefl.privacy.vote_plan import (
    ROUNDING,
    grid_shift,
    product_error,
    projection_noise,
    vote_event,
)


def config_of(dp="distributed", vote=None, **privacy):
    agreed = {"dp": dp, "epsilon": 8.0} | privacy
    tree = {"task": "recommendation", "mode": "secure", "privacy": agreed, "vote": vote or {}}
    return load_config(None, tree)


def test_all_ballots_cost_their_share_of_epsilon():
    config = config_of(vote={"every": 2, "share": 0.2})
    event = vote_event(config)
    assert event.steps == config.rounds // 2
    assert epsilon_of([event], config.privacy.delta, "pld") <= 0.2 * 8.0
    less = event.with_steps(event.steps + 1)
    assert epsilon_of([less], config.privacy.delta, "pld") > 0.2 * 8.0


def test_ballots_cost_nothing_where_updates_have_all_noise():
    assert vote_event(config_of("local")) is None
    assert vote_event(load_config(None, {"task": "recommendation", "vote": {}})) is None


@pytest.mark.slow
def test_plan_keeps_the_budget_with_ballots():
    """What is owed for ballots falls with each that is charged, and never below nothing."""
    config = config_of()
    plan, event, scores = PrivacyPlan.of(config), vote_event(config), score_event(config)
    one = event.with_steps(1)
    assert plan.reserved == (scores, event)
    assert plan._owed([one, one.with_steps(2)]) == [scores, event.with_steps(event.steps - 3)]
    assert plan._owed([scores, event]) == []
    assert plan.training([scores, one]) == []
    table = budget_table(config)
    assert table.total <= 8.0
    assert table.vote_noise == event.noise_multiplier
    assert table.score_noise == scores.noise_multiplier
    assert table.to_json()["vote_noise"] == event.noise_multiplier


def encoding(moved, coordinates=50, bits=20):
    return SumEncoding(bits, Sensitivity(moved, coordinates), None)


@pytest.mark.parametrize("coordinates", [1, 7, 1000])
def test_a_computed_product_errs_by_no_more_than_is_counted(coordinates):
    """Of the largest integers that are summed, beside the exact product of rationals."""
    config, rng = config_of(), np.random.default_rng(11)
    code = gradient_sum_encoding(config, coordinates)
    largest = math.floor(math.ldexp(gradient_signal(config), code.bits))
    worst = 0.0
    for _ in range(4):
        total = largest - rng.integers(0, 3, coordinates)
        total[rng.integers(0, 2, coordinates) == 1] *= -1
        direction = rng.normal(size=coordinates)
        direction = direction / np.linalg.norm(direction) * (1 - 1e-9)
        exact = sum(int(x) * Fraction(float(v)) for x, v in zip(total, direction, strict=True))
        computed = Fraction(float(total.astype(np.float64) @ direction))
        worst = max(worst, float(abs(computed - exact)))
    assert 0 < worst <= product_error(config, code)
    # A small part of a step, so that it costs next to nothing.
    moved = code.sensitivity.l2
    assert math.ldexp(product_error(config, code), -grid_shift(config, moved)) < 1e-3


@pytest.mark.parametrize("moved", [1000.0, 1e5, 2.0**17])
def test_one_unit_moves_a_projection_no_further(moved):
    rng, shift = np.random.default_rng(3), grid_shift(config_of(), moved)
    for _ in range(200):
        before = rng.integers(-(10**6), 10**6, 50)
        unit = rng.normal(size=50)
        unit = np.trunc(unit / np.linalg.norm(unit) * moved).astype(np.int64)
        direction = unit / np.linalg.norm(unit) if rng.integers(2) else rng.normal(size=50)
        direction = direction / np.linalg.norm(direction) * (1 - 1e-9)
        sums = [
            round(math.ldexp(float(total @ direction), -shift)) for total in (before, before + unit)
        ]
        assert abs(sums[0] - sums[1]) <= math.ldexp(moved, -shift) + ROUNDING
    code = encoding(moved)
    noise = projection_noise(config_of(), code)
    stepped = math.ldexp(config_of().privacy.steps * moved, -shift)
    computed = math.ldexp(2 * product_error(config_of(), code), -shift)
    assert noise.sensitivity.l2 == pytest.approx(stepped + ROUNDING + computed, rel=1e-15)
    assert noise.sensitivity.l2 > stepped + ROUNDING
    assert stepped >= min(1024.0, config_of().privacy.steps * moved)  # rounding stays small
    assert math.sqrt(noise.share_variance) >= noise.event.noise_multiplier * noise.sensitivity.l2


class Noise:
    """Parts of five members, with noise whose size is public."""

    def __init__(self, deviation):
        rng = np.random.default_rng(5)
        self.common = rng.normal(size=4000)
        self.parts = [self.common + 0.5 * rng.normal(size=4000) for _ in range(5)]
        self.shares = [part + deviation * rng.normal(size=4000) for part in self.parts]

    def change(self, config, shares):
        began = np.zeros(4000, np.float32)
        ended = config.server.learning_rate * np.mean(shares, axis=0)
        return PublicChange.of(config, 5, len(shares), began, ended.astype(np.float32))


@pytest.mark.parametrize(
    ("attack", "ballot"),
    [
        (lambda share, part: share, ACCEPT),
        (lambda share, part: share - 6 * part, DIRECTION),
        (lambda share, part: 10 * share, DIRECTION),
        (lambda share, part: share + 1e3 * (np.arange(4000) < 3), DIRECTION),
    ],
    ids=["honest", "turned", "scaled", "boosted"],
)
def test_projection_tells_attacks_from_honest_rounds(attack, ballot, monkeypatch):
    config, made = config_of(), Noise(deviation=2.0)
    summed = 2.0 * math.sqrt(5) * config.privacy.expected_batch
    mechanism = "securefl.federation.scores.noised_judgement.mechanism_for"
    public = type("Public", (), {"summed_deviation": lambda *_: summed})
    monkeypatch.setattr(mechanism, lambda _: public())
    shares = [attack(made.shares[0], made.parts[0]), *made.shares[1:]]
    change = made.change(config, shares)
    steps = [round(math.ldexp(float(part @ change.direction), 10)) for part in made.parts[1:]]
    said = {noised_ballot(config.vote, change, one, 10) for one in steps}
    assert said == {ballot}
    honest = made.change(config, made.shares)
    every = [math.ldexp(float(part @ honest.direction), 10) for part in made.parts]
    assert np.mean([honest.share(one, 10) for one in every]) == pytest.approx(1.0, abs=0.2)


def test_noise_that_drowns_the_signal_tells_nothing():
    change = PublicChange(np.ones(1), length=2.0, signal=0.5)
    assert change.tells(0.1, 0)
    assert not change.tells(0.2, 0)
    assert not PublicChange(np.ones(1), length=2.0, signal=-0.1).tells(1e-9, 0)
    assert PublicChange.of(config_of(), 5, 5, *np.zeros((2, 3), np.float32)) is None


def test_fewer_members_in_a_sum_leave_more_noise(monkeypatch):
    """With three of five in the sum, an honest one is near 1 all the same."""
    config, made = config_of(), Noise(deviation=6.0)
    scale = 6.0 * config.privacy.expected_batch
    mechanism = "securefl.federation.scores.noised_judgement.mechanism_for"
    public = type("Public", (), {"summed_deviation": lambda *given: scale * math.sqrt(given[-1])})
    monkeypatch.setattr(mechanism, lambda _: public())
    few = made.change(config, made.shares[:3])
    every = [math.ldexp(float(part @ few.direction), 10) for part in made.parts[:3]]
    assert np.mean([few.share(one, 10) for one in every]) == pytest.approx(1.0, abs=0.5)
    # What was taken for the signal before: the noise of five in a mean of five.
    change = few.length**2 - 4000 * 6.0**2 / 5
    assert np.mean(every) * 2.0**-10 * few.length / change < config.vote.direction / 2


def test_noise_in_a_sum_follows_its_members():
    config = config_of()
    mechanism = mechanism_for(config.privacy)
    all_of_them, few = (mechanism.summed_deviation(config, 5, 100, n) for n in (None, 3))
    assert few == pytest.approx(all_of_them * math.sqrt(3 / 5))


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("moved", [3.0, 2.0**14, 2.0**20, 2.0**40])
def test_ballots_of_any_budget_have_noise_that_can_be_drawn(epsilon, moved):
    """A run that cannot give its first ballot would stop in its first round."""
    config = config_of(epsilon=epsilon)
    noise = projection_noise(config, encoding(moved))
    assert noise.share_variance >= (vote_event(config).noise_multiplier * noise.sensitivity.l2) ** 2
