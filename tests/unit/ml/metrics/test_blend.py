import pytest
import torch

from securefl.errors import ConfigError
from securefl.ml.metrics import score_blending as blend
from securefl.ml.metrics.ranking import RankingCases
from securefl.ml.metrics.score_blending import (
    DefaultWeights,
    blend_weights,
    chosen_weights,
    likelihood,
)


def cases(seed, customers=400, others=20):
    """A helpful part, one that says nothing, and one that says the opposite."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(3, customers, 1 + others, generator=generator, dtype=torch.float64)
    right = torch.zeros(customers, 1 + others, dtype=torch.float64)
    right[:, 0] = 1
    parts = torch.stack([0.3 * right + noise[0], 100 * (right + noise[1]), noise[2] - right], dim=2)
    return parts, torch.ones(customers, 1 + others, dtype=torch.bool)


def hits(scores, valid):
    """Share of held-out products among the first three."""
    ahead = ((scores[:, 1:] >= scores[:, :1]) & valid[:, 1:]).sum(dim=1)
    return float((ahead < 3).double().mean())


def test_what_helps_counts_and_what_misleads_does_not():
    parts, valid = cases(1)
    weights = blend_weights(parts, valid)
    assert weights[0] > 0
    assert weights[1] * 100 > weights[0]
    assert weights[2] == 0
    held_out, valid = cases(2)
    assert hits(held_out @ weights, valid) > hits(held_out[:, :, 0], valid) + 0.1


def test_no_weights_nearby_explain_the_purchases_better():
    # Heavy tails: from equal weights, whole Newton steps go far beyond the optimum.
    generator = torch.Generator().manual_seed(4)
    parts = torch.randn(300, 100, 2, generator=generator, dtype=torch.float64)
    parts[:, 0] += 1
    parts = parts.mul(1.5).exp() * torch.tensor([1000.0, 1.0])
    valid = torch.ones(300, 100, dtype=torch.bool)
    weights = blend_weights(parts, valid)
    assert (weights > 0).all()
    scaled, spread = parts / parts.std(dim=(0, 1)), parts.std(dim=(0, 1))
    best = likelihood(scaled, valid, weights * spread)
    for part in range(2):
        for factor in (0.8, 1.2):
            other = (weights * spread).clone()
            other[part] *= factor
            assert likelihood(scaled, valid, other) < best


def test_on_the_cases_that_chose_it_a_blend_explains_no_less_than_any_part():
    for seed in range(5):
        parts, valid = cases(seed, customers=30)
        parts[:, :, 1:] *= -1
        spread = parts.std(dim=(0, 1), unbiased=False)
        weights = blend_weights(parts, valid) * spread
        reached = likelihood(parts / spread, valid, weights)
        for part in torch.eye(3, dtype=torch.float64):
            assert reached >= likelihood(parts / spread, valid, part)


def test_parts_that_say_nothing_and_missing_competitors_do_no_harm():
    parts, valid = cases(3)
    parts[:, :, 1] = 7.0
    valid[:, 5:] = False
    weights = blend_weights(parts, valid)
    assert torch.isfinite(weights).all()
    parts[:, 5:] = 1e6
    assert torch.equal(blend_weights(parts, valid), weights)


def test_without_a_case_the_first_part_is_served_alone():
    weights = blend_weights(torch.zeros(0, 3, 4), torch.zeros(0, 3, dtype=torch.bool))
    assert weights.tolist() == [1, 0, 0, 0]


def default(*values, cases):
    return DefaultWeights(torch.tensor(values, dtype=torch.float64), cases)


def test_where_every_part_counts_against_the_cases_the_first_is_served_alone():
    """Weights of 0 would tie all products, and a list of ties is none."""
    parts, valid = cases(3)
    opposite = torch.stack([-parts[:, :, 0], -parts[:, :, 1]], dim=2)
    assert blend_weights(opposite, valid).tolist() == [1.0, 0.0]


def test_few_cases_leave_the_default_weights():
    """The more cases against the default's, the nearer to what the cases alone say."""
    parts, valid = cases(1)
    apart, centre = blend_weights(parts, valid), default(0.2, 0.05, 0.4, cases=400.0)
    assert apart[2] == 0
    found = {
        count: blend_weights(parts, valid, default(0.2, 0.05, 0.4, cases=count))
        for count in (1e-6, 400.0, 4e4, 4e9)
    }
    torch.testing.assert_close(found[1e-6], apart, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[4e9], centre.values, atol=1e-6, rtol=1e-6)
    misleading = [found[count][2] for count in (400.0, 4e4, 4e9)]
    assert misleading == sorted(misleading)
    assert 0 < misleading[1] < 0.4


def test_more_cases_count_for_more():
    """Twice the same cases leave the weights nearer to what the cases alone say."""
    parts, valid = cases(2)
    centre = default(0.3, 0.02, 0.0, cases=300.0)
    apart, drawn = blend_weights(parts, valid), blend_weights(parts, valid, centre)
    twice = blend_weights(torch.cat([parts] * 2), torch.cat([valid] * 2), centre)
    assert not torch.equal(apart, drawn)
    assert (twice - apart).norm() < (drawn - apart).norm()


def test_default_weights_of_other_parts_are_refused():
    with pytest.raises(ConfigError, match="3 default weights for 2 components"):
        blend_weights(torch.zeros(1, 3, 2), torch.ones(1, 3).bool(), default(1, 2, 3, cases=1.0))


def test_without_a_case_the_default_is_served():
    nothing = torch.zeros(0, 3, 2), torch.zeros(0, 3, dtype=torch.bool)
    assert blend_weights(*nothing, default(0.3, 0.7, cases=1.0)).tolist() == [0.3, 0.7]


def ranking(customers, products=30):
    generator = torch.Generator().manual_seed(customers)
    order = torch.rand(customers, products, generator=generator).argsort(dim=1)
    negatives = order[:, 1:9].clone()
    negatives[0, 3:] = -1
    nothing = torch.zeros(0, dtype=torch.int64)
    start = torch.zeros(customers + 1, dtype=torch.int64)
    return RankingCases(order[:, 0], negatives, start, nothing, torch.ones(products).bool())


def test_weights_are_chosen_from_the_candidates_scores(monkeypatch):
    found, generator = ranking(customers=600), torch.Generator().manual_seed(1)
    scores = torch.randn(600, 30, 2, generator=generator)
    scores[:, :, 1] += torch.nn.functional.one_hot(found.positive, 30)
    weights = chosen_weights(lambda index: scores[index], found)
    assert weights[1] > 5 * weights[0]
    monkeypatch.setattr(blend, "_CASES", 100)
    asked = []
    fewer = chosen_weights(lambda index: asked.append(index) or scores[index], found)
    assert sum(len(index) for index in asked) == 100
    assert torch.cat(asked).max() == 599
    assert fewer[1] > 2 * fewer[0]
