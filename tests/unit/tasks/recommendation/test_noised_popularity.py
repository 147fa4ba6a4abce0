"""Popularity under a budget: what one customer adds, and what noise it gets."""

import math

import pytest
import torch

from securefl.config.privacy import PrivacySettings
from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.tasks.common.histories import Histories
from securefl.tasks.recommendation.dp_popularity import bounded_counts, noised_popularity

SETTINGS = PrivacySettings(dp="local", epsilon=2.0, delta=1e-5, insecure_testing_seed=1)


def histories(customers, products=50):
    generator = torch.Generator().manual_seed(3)
    items, weights, start = [], [], [0]
    for count in range(1, customers + 1):
        items.append(torch.randperm(products, generator=generator)[:count])
        weights.append(torch.rand(count, generator=generator) * 10**count + 0.01)
        start.append(start[-1] + count)
    return Histories(
        torch.tensor(start),
        torch.cat(items).int(),
        torch.cat(weights),
        torch.zeros(len(torch.cat(items))),
    )


def test_a_customer_more_moves_the_counts_by_length_one_whatever_she_bought():
    for customers in (1, 4, 12):
        without = bounded_counts(histories(customers - 1), 50) if customers > 1 else 0
        difference = bounded_counts(histories(customers), 50) - without
        assert difference.norm() == pytest.approx(1, abs=1e-5)


def test_the_noise_is_what_the_whole_budget_buys_in_one_release():
    few = histories(3, products=20_000)
    exact = bounded_counts(few, 20_000)
    noise = noised_popularity("north", few, 20_000, SETTINGS) - exact
    sigma = float(noise.std())
    tolerance = 4 / math.sqrt(2 * len(noise))
    for factor, within in ((1 + tolerance, True), (0.9, False)):
        spent = epsilon_of([SampledGaussian(sigma * factor, 1.0, 1)], 1e-5)
        assert (spent <= 2.0) is within
    other = noised_popularity("south", few, 20_000, SETTINGS) - exact
    assert abs(float(torch.corrcoef(torch.stack([noise, other]))[0, 1])) < 0.05


def test_without_a_budget_there_is_no_noised_list():
    with pytest.raises(ConfigError, match="needs a budget"):
        noised_popularity("north", histories(3), 50, PrivacySettings())
