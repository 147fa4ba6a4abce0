"""The budget before a run: some of very many rounds are priced, and one too small is refused."""

from types import SimpleNamespace

import pytest

from securefl.config.load import load_config, merge
from securefl.errors import ConfigError
from securefl.federation.runs.prepare import check_noise
from securefl.privacy import budget_table as tables
from support.small_runs import SMALL_RATINGS


@pytest.mark.parametrize(
    ("count", "rows"),
    [
        (0, []),
        (1, [1]),
        (100, list(range(1, 101))),
        (250, [5 * n // 2 for n in range(1, 101)]),
        (10**8, [10**6 * n for n in range(1, 101)]),
    ],
)
def test_of_many_rows_a_hundred_are_listed(count, rows):
    assert list(tables._listed(count)) == rows


def test_a_hundred_million_rounds_are_priced_a_hundred_times(monkeypatch):
    """And the months after them, which may be 1,200."""
    priced = []
    plan = SimpleNamespace(
        rounds=10**8,
        reserved=(),
        epsilon=lambda events: 1.0,
        mechanism=SimpleNamespace(
            planned_event=lambda config, plan: SimpleNamespace(noise_multiplier=2.0)
        ),
    )
    monkeypatch.setattr(tables, "PrivacyPlan", SimpleNamespace(of=lambda config: plan))
    for name in ("_planned", "_month"):
        monkeypatch.setattr(tables, name, lambda plan, event, number: priced.append(number))
    tables.budget_table(None, months=1200)
    assert len(priced) == 200
    assert priced[99] == 10**8
    assert priced[-1] == 1200


def test_an_epsilon_that_no_noise_keeps_is_refused_before_a_run():
    """As the members would in the first round, each by itself."""
    privacy = {"dp": "local", "sampling_rate": 0.5, "steps": 1}
    little, enough = (
        load_config(None, merge(SMALL_RATINGS, {"privacy": {**privacy, "epsilon": epsilon}}))
        for epsilon in (1e-9, 4.0)
    )
    with pytest.raises(ConfigError, match=r"cannot be kept: .* no noise multiplier up to"):
        check_noise(little, 5, 100)
    check_noise(enough, 5, 100)
