import numpy as np
import pytest

from securefl.config.schema import ServerSettings
from securefl.federation.aggregation.server_optimizer import ServerOptimizer

CHANGES = [np.array([1.0, -2.0]), np.array([0.5, 0.5]), np.array([-1.0, 3.0])]


def run(settings):
    shared = np.array([10.0, 20.0], dtype=np.float32)
    server = ServerOptimizer(settings, 2)
    for change in CHANGES:
        shared = server.apply(shared, change)
    return shared


def test_fedavg_adds_the_mean_change():
    assert run(ServerSettings()) == pytest.approx([10.5, 21.5])


def test_fedavg_scales_by_the_server_learning_rate():
    assert run(ServerSettings(learning_rate=0.5)) == pytest.approx([10.25, 20.75])


def test_fedavgm_is_a_heavy_ball():
    momentum, moment, expected = 0.9, np.zeros(2), np.array([10.0, 20.0])
    for change in CHANGES:
        moment = momentum * moment + change
        expected = expected + moment
    assert run(ServerSettings(optimizer="fedavgm")) == pytest.approx(expected, rel=1e-6)


def test_fedadam_follows_algorithm_2_of_reddi_et_al():
    settings = ServerSettings(optimizer="fedadam", learning_rate=0.1, epsilon=1e-2)
    first, second, expected = np.zeros(2), np.zeros(2), np.array([10.0, 20.0])
    for change in CHANGES:
        first = 0.9 * first + 0.1 * change
        second = 0.99 * second + 0.01 * change**2
        expected = expected + 0.1 * first / (np.sqrt(second) + 1e-2)
    assert run(settings) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["fedavgm", "fedadam"])
def test_a_restored_server_goes_on_as_if_it_had_never_stopped(optimizer):
    settings = ServerSettings(optimizer=optimizer)
    shared = np.zeros(2, dtype=np.float32)
    whole, first = ServerOptimizer(settings, 2), ServerOptimizer(settings, 2)
    for change in CHANGES[:2]:
        whole.apply(shared, change)
        first.apply(shared, change)
    second = ServerOptimizer(settings, 2)
    second.restore({name: moment.copy() for name, moment in first.moments.items()})
    assert (second.apply(shared, CHANGES[2]) == whole.apply(shared, CHANGES[2])).all()
