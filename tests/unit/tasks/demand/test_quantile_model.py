import pytest
import torch
from scipy.stats import norm

from securefl.tasks.demand.quantile_model import QuantileForecaster, QuantileTarget, pinball
from securefl.tasks.demand.settings import QuantileForecasterSettings

LEVELS = (0.1, 0.5, 0.9, 0.95)


def forecaster(**changes):
    torch.manual_seed(0)
    return QuantileForecaster(QuantileForecasterSettings(levels=LEVELS), inputs=5, series=3).eval()


def rows(count=20):
    torch.manual_seed(1)
    return torch.randn(count, 5), torch.arange(count) % 3, torch.rand(count) * 6


def test_quantiles_never_cross_whatever_the_parameters():
    model = forecaster()
    for scale in (0.1, 1.0, 3.0):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=scale)
            assert (model(*rows()).diff(dim=1) >= 0).all()


def test_an_untrained_model_states_a_normal_law_about_the_recent_mean():
    _, _, level = rows()
    with torch.no_grad():
        found = forecaster()(*rows())
    assert torch.allclose(found[:, 1], level)
    spread = (found[:, 2] - found[:, 1]) / norm.ppf(0.9)
    assert torch.allclose(spread, torch.full_like(spread, 0.15), atol=1e-5)
    assert torch.allclose(found[:, 1] - found[:, 0], found[:, 2] - found[:, 1], atol=1e-5)


def test_the_pinball_loss_is_least_at_the_quantile():
    torch.manual_seed(2)
    sample = torch.randn(20_001, 1)
    grid = torch.linspace(-2.5, 2.5, 101)
    levels = torch.tensor(LEVELS)
    for column, level in enumerate(LEVELS):
        losses = [
            float(pinball(torch.full((1, 4), float(q)), sample, levels)[:, column].mean())
            for q in grid
        ]
        best = float(grid[losses.index(min(losses))])
        assert best == pytest.approx(norm.ppf(level), abs=0.08)


def test_the_loss_of_a_row_is_its_own():
    target, output = QuantileTarget(LEVELS), torch.randn(4, 4).cumsum(dim=1)
    demand = torch.tensor([1.0, 5.0, 0.0, 30.0])
    together = target.loss(output, demand)
    apart = [target.loss(output[i : i + 1], demand[i : i + 1]) for i in range(4)]
    assert torch.allclose(together, torch.cat(apart))
    assert (target.quantity(output) >= 0).all()


def test_training_finds_how_wide_demand_scatters_where_it_scatters_more():
    torch.manual_seed(3)
    inputs, series = torch.randn(3000, 5), torch.zeros(3000, dtype=torch.int64)
    wide = inputs[:, 0] > 0
    level = torch.full((3000,), 5.0)
    demand = torch.expm1(level + torch.randn(3000) * torch.where(wide, 0.4, 0.1))
    model, target = forecaster(), QuantileTarget(LEVELS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        target.loss(model(inputs, series, level), demand).mean().backward()
        optimizer.step()
    with torch.no_grad():
        quantiles = target.quantity(model(inputs, series, level))
    below = demand.unsqueeze(1) <= quantiles
    assert below.float().mean(dim=0).tolist() == pytest.approx(LEVELS, abs=0.03)
    spread = (quantiles[:, 2] - quantiles[:, 0]).log()
    assert spread[wide].mean() > spread[~wide].mean() + 0.5
