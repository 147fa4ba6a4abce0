"""Every figure against a computation from its definition, and over retailers as a sum."""

import numpy as np
import pytest

from securefl.ml.metrics.classification import classification_tally


def drawn(seed, cases=200):
    """Log-odds with many equal ones, and what happened."""
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(-1, 1.5, cases), 1)
    return logits, rng.random(cases) < 1 / (1 + np.exp(-logits))


def pairs(logits, truth):
    won = [(a > b) + 0.5 * (a == b) for a in logits[truth] for b in logits[~truth]]
    return sum(won), len(won)


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_is_its_definition(seed):
    logits, truth = drawn(seed)
    chance = 1 / (1 + np.exp(-logits))
    found = classification_tally(logits, truth).values()
    won, all_pairs = pairs(logits, truth)
    assert found["auc"] == pytest.approx(won / all_pairs)
    precision = [truth[logits >= score].mean() for score in logits[truth]]
    assert found["average_precision"] == pytest.approx(np.mean(precision))
    assert found["log_loss"] == pytest.approx(-np.log(np.where(truth, chance, 1 - chance)).mean())
    assert found["brier"] == pytest.approx(((chance - truth) ** 2).mean())
    bins = (chance * 10).astype(int)
    off = sum(
        (bins == b).mean() * abs(chance[bins == b].mean() - truth[bins == b].mean())
        for b in set(bins)
    )
    assert found["calibration_error"] == pytest.approx(off)


def test_average_precision_is_the_area_under_the_steps_of_precision_over_recall():
    logits, truth = drawn(5)
    recall, area = 0.0, 0.0
    for threshold in sorted(set(logits), reverse=True):
        above = logits >= threshold
        reached = (above & truth).sum() / truth.sum()
        area += (reached - recall) * truth[above].mean()
        recall = reached
    found = classification_tally(logits, truth).values()["average_precision"]
    assert found == pytest.approx(area)


def test_over_retailers_only_pairs_within_one_retailer_count():
    low, high = drawn(1), drawn(2)
    shifted = (high[0] + 100, high[1])  # scores of another scale change nothing
    summed = classification_tally(*low) + classification_tally(*shifted)
    won = [pairs(*low), pairs(*high)]
    expected = sum(w for w, _ in won) / sum(n for _, n in won)
    assert summed.values()["auc"] == pytest.approx(expected)


def test_a_score_that_says_nothing_wins_half_of_the_pairs():
    truth = np.array([True, False, False, True, False])
    found = classification_tally(np.zeros(5), truth).values()
    assert found["auc"] == 0.5
    assert found["average_precision"] == pytest.approx(0.4)


def test_where_all_came_back_nothing_can_be_ranked_but_the_probabilities_count():
    found = classification_tally(np.array([-2.0, 900.0, -900.0]), np.zeros(3, dtype=bool)).values()
    assert np.isnan(found["auc"])
    assert np.isnan(found["average_precision"])
    assert found["log_loss"] == pytest.approx((np.log1p(np.exp(-2.0)) + 900) / 3)
    assert classification_tally(np.zeros(0), np.zeros(0, dtype=bool)).ratios["auc"].numerator == 0


def test_scores_and_cases_of_different_number_are_refused():
    with pytest.raises(ValueError, match="scores for"):
        classification_tally(np.zeros(3), np.zeros(4, dtype=bool))
