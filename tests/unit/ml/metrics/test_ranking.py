"""Ranks, ties and the expectation over the draw of the negatives."""

import math

import numpy as np
import pytest
import torch

from securefl.ml.metrics.ranking import RankingCases, expected_gain, ranking_tally

NAMES = {"ndcg@10_expected", "hr@10", "ndcg@10", "hr@10_full", "ndcg@10_full"}


def one_case(products=40, positive=0, negatives=(1, 2, 3), bought=(0,), sold=None):
    mask = torch.ones(products, dtype=torch.bool)
    if sold is not None:
        mask = torch.zeros(products, dtype=torch.bool)
        mask[list(sold)] = True
    return RankingCases(
        positive=torch.tensor([positive]),
        negatives=torch.tensor([negatives]),
        bought_start=torch.tensor([0, len(bought)]),
        bought=torch.tensor(bought),
        sold=mask,
    )


def values(scores, cases):
    return ranking_tally(lambda index: scores.expand(len(index), -1), cases).values()


def test_first_place():
    scores = -torch.arange(40.0)

    assert values(scores, one_case()) == dict.fromkeys(NAMES, 1.0)


def test_third_place_among_the_sampled():
    scores = torch.zeros(40)
    scores[0], scores[1], scores[2], scores[3] = 5.0, 6.0, 7.0, 1.0
    result = values(scores, one_case())

    assert result["hr@10"] == 1.0
    assert result["ndcg@10"] == pytest.approx(1 / math.log2(4))


def test_ties_count_against_the_model():
    negatives = tuple(range(1, 11))
    result = values(torch.zeros(40), one_case(negatives=negatives))

    assert result == dict.fromkeys(NAMES, 0.0)


def test_tenth_place_hits_and_eleventh_does_not():
    scores = torch.zeros(40)
    scores[0] = 1.0
    scores[1:10] = 2.0
    negatives = tuple(range(1, 30))
    tenth = values(scores, one_case(negatives=negatives))
    scores[10] = 1.0
    eleventh = values(scores, one_case(negatives=negatives))

    assert tenth["ndcg@10"] == tenth["ndcg@10_full"] == pytest.approx(1 / math.log2(11))
    assert eleventh["hr@10"] == eleventh["hr@10_full"] == 0.0


def test_full_ranking_skips_what_is_not_sold_and_what_was_bought():
    scores = torch.arange(40.0)
    sold = [0, 1, 2, *range(20, 40)]
    bought = (0, *range(20, 40))
    result = values(scores, one_case(bought=bought, sold=sold))

    assert result["ndcg@10_full"] == pytest.approx(1 / math.log2(4))


def test_padding_is_no_competitor():
    scores = torch.full((40,), 9.0)
    scores[0] = 10.0
    result = values(scores, one_case(negatives=(1, -1, -1)))

    assert result["ndcg@10"] == 1.0
    assert values(scores - torch.eye(1, 40)[0] * 5, one_case(negatives=(-1, -1)))["ndcg@10"] == 1.0


def test_expectation_is_the_mean_over_many_draws():
    ahead, competitors, drawn = 30, 200, 25
    generator = np.random.default_rng(3)
    ranks = generator.hypergeometric(ahead, competitors - ahead, drawn, size=200_000)
    mean = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0).mean()
    expected = expected_gain(*(torch.tensor([n]) for n in (ahead, competitors, drawn)))

    assert float(expected) == pytest.approx(mean, abs=2e-3)


def test_expectation_without_chance():
    drawn_all = expected_gain(torch.tensor([3]), torch.tensor([9]), torch.tensor([9]))
    none_ahead = expected_gain(torch.tensor([0]), torch.tensor([500]), torch.tensor([99]))

    assert float(drawn_all) == pytest.approx(1 / math.log2(5))
    assert float(none_ahead) == pytest.approx(1.0)


def test_cases_beyond_one_chunk_are_all_counted():
    count = 700
    cases = RankingCases(
        positive=torch.arange(count) % 40,
        negatives=torch.full((count, 5), -1),
        bought_start=torch.arange(count + 1),
        bought=torch.arange(count) % 40,
        sold=torch.ones(40, dtype=torch.bool),
    )
    tally = ranking_tally(lambda index: torch.eye(40)[index % 40], cases)

    assert {ratio.denominator for ratio in tally.ratios.values()} == {float(count)}
    assert tally.ratios["hr@10_full"].numerator == count
