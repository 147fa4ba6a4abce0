import pytest
import torch
from torch import nn

from securefl.ml.parameters import local_parameters
from securefl.tasks.demand.forecaster import Forecaster, LogTarget, RawTarget, TutorialForecaster
from securefl.tasks.demand.settings import ForecasterSettings, TutorialForecasterSettings


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2]), torch.rand(6) * 5


def test_untrained_it_forecasts_the_level_itself(batch):
    model = Forecaster(ForecasterSettings(), inputs=5, series=3).eval()
    assert torch.equal(model(*batch), batch[2])


def test_trained_it_tells_series_apart_and_follows_the_level(batch):
    model = Forecaster(ForecasterSettings(dropout=0.0), inputs=5, series=3)
    nn.init.normal_(model.head.weight)
    inputs, series, level = batch
    same = inputs[:1].repeat(2, 1)
    first, second = model(same, torch.tensor([0, 1]), torch.zeros(2))
    assert first != second
    raised = model(inputs, series, level + 1) - model(inputs, series, level)
    assert torch.allclose(raised, torch.ones(6), atol=1e-5)


def test_all_parameters_learn_from_the_first_two_steps(batch):
    model = Forecaster(ForecasterSettings(dropout=0.0), inputs=5, series=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    target = LogTarget(0.3)
    for _ in range(2):
        optimizer.zero_grad()
        target.loss(model(*batch), torch.full((6,), 20.0)).mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_everything_is_shared():
    assert local_parameters(Forecaster(ForecasterSettings(), inputs=5, series=3)) == {}


def test_tutorial_network_has_its_layers_and_no_eye_for_series(batch):
    model = TutorialForecaster(TutorialForecasterSettings(), inputs=5).eval()
    kinds = [type(layer).__name__ for layer in model.net]
    assert kinds == ["Linear", "ReLU", "Dropout"] * 3 + ["Linear", "ReLU"]
    assert [layer.p for layer in model.net if isinstance(layer, nn.Dropout)] == [0.1] * 3
    inputs, series, level = batch
    assert torch.equal(model(inputs, series, level), model(inputs, series + 1, level + 1))
    assert (model(inputs, series, level) >= 0).all()


def test_log_target_is_quadratic_near_zero_and_linear_beyond():
    demand = torch.expm1(torch.tensor([2.0, 2.0]))
    loss = LogTarget(0.3).loss(torch.tensor([2.1, 4.0]), demand)
    assert loss.tolist() == pytest.approx([0.1**2 / 2 / 0.3, 2.0 - 0.15], rel=1e-4)


def test_log_target_reads_a_forecast_back_as_units():
    quantity = LogTarget(0.3).quantity(torch.log1p(torch.tensor([0.0, 7.0])))
    assert quantity.tolist() == pytest.approx([0.0, 7.0])
    assert LogTarget(0.3).quantity(torch.tensor([-3.0])).item() == 0


def test_raw_target_is_squared_error_in_units():
    output, demand = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 5.0])
    assert RawTarget().loss(output, demand).tolist() == [4.0, 0.0]
    assert torch.equal(RawTarget().quantity(output), output)
