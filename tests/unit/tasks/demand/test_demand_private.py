"""Noised series: what a customer or a line moves them by, and that training sees nothing else."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from securefl.config.data import TutorialSettings
from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.errors import DataError, StorageFullError
from securefl.federation.member.updates.noisy_series import NoisySeriesTrainer
from securefl.ml import tensor_io
from securefl.ml.batches import all_units
from securefl.ml.metrics.sums import total
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.grid import Grid
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.demand.contribution_bounds import Contributions
from securefl.tasks.registry import create_task

CUTS = {
    "demand": {
        "step": "day",
        "min_mean": 0.5,
        "min_training_mean": 0.2,
        "validation_steps": 6,
        "test_steps": 6,
    },
    "training": {"batch_size": 64, "local_epochs": 1},
    "privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-4, "clip_norm": 3.0},
}


@pytest.fixture
def prepared(purchases):
    def make(**privacy):
        base = {**purchases, "task": "demand", "rounds": 2, "model": {"name": "forecaster"}}
        config = load_config(None, merge(base, merge(CUTS, {"privacy": privacy})))
        task, data = create_task(config), load(config.data)
        facts = task.agree(data)
        return task, facts, [task.prepare(tables, facts) for tables in data.members[:2]]

    return make


def shopping(lines=300, customers=7):
    rng = np.random.default_rng(3)
    return Contributions(
        customer=rng.integers(-1, customers, lines),
        cell=rng.integers(0, 30, lines),
        units=rng.exponential(2.0, lines),
        shape=(5, 6),
    )


def without(made, kept):
    return Contributions(made.customer[kept], made.cell[kept], made.units[kept], made.shape)


def test_one_customer_moves_the_series_by_the_bound_and_no_more():
    made = shopping()
    moved = [
        np.linalg.norm(
            made.of_customers(4.0) - without(made, made.customer != who).of_customers(4.0)
        )
        for who in range(7)
    ]
    assert max(moved) == pytest.approx(4.0)
    known = without(made, made.customer >= 0)
    unbounded = made.of_customers(1e9)
    assert unbounded.sum() == pytest.approx(known.units.sum())
    gone = without(made, made.customer != 0).of_customers(1e9)
    assert np.linalg.norm(unbounded - gone) > 4.0


def test_one_line_moves_the_series_by_its_bound_and_a_customer_by_so_many_of_them():
    made = shopping()
    whole = made.of_records(1.5, 3)
    for line in range(0, 300, 7):
        fewer = without(made, np.arange(300) != line).of_records(1.5, 3)
        assert np.linalg.norm(whole - fewer) <= 1.5 + 1e-9
    for who in range(7):
        fewer = without(made, made.customer != who).of_records(1.5, 3)
        assert np.linalg.norm(whole - fewer) <= 3 * 1.5 + 1e-9
    assert made.of_records(1e9, 100).sum() == pytest.approx(made.units.sum())


def test_units_are_counted():
    made = shopping()
    assert made.count("customer") == 7
    assert made.count("record") == 300


def test_training_rows_come_from_the_noised_series_and_from_nothing_else(prepared):
    task, facts, (one, other) = prepared()
    series = np.random.default_rng(0).normal(3, 2, task.bounded_series(one).shape)
    renamed = type(other)(**{**vars(other), "name": one.name})
    found = [all_units(task.noised_units(member, facts, series, 1.0)) for member in (one, renamed)]
    assert not np.array_equal(task.bounded_series(one), task.bounded_series(other))
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)


def test_the_days_that_are_held_out_are_not_released(prepared):
    task, facts, (member, _) = prepared()
    assert task.bounded_series(member).shape[1] == len(facts.steps) - 6 - 6


def test_no_series_that_stands_out_still_leaves_the_largest(prepared):
    task, facts, (member, _) = prepared()
    series = task.bounded_series(member)
    assert len(task.noised_units(member, facts, series, 1e6)) == series.shape[1] - 28


@pytest.fixture
def releases(prepared, tmp_path):
    """Two rounds of one member; what was charged and what it stored."""
    task, facts, (member, _) = prepared()
    learner = LocalProblem(task.config, task, facts, member)
    model, accountant = learner.fresh_model("shared"), PrivacyAccountant()
    for number in (1, 2):
        stream = AesCtrRng.insecure_for_tests(bytes([number] * 32))
        NoisySeriesTrainer(
            learner, model, 2.0, 3.0, tmp_path, stream=stream, accountant=accountant
        ).train_round()
    last = NoisySeriesTrainer(
        learner, model, 2.0, 3.0, tmp_path, stream=AesCtrRng(), accountant=accountant
    )
    return task.bounded_series(member), last._released_so_far(), accountant


def test_the_noise_has_the_stated_variance_and_later_rounds_average_it_out(releases):
    exact, (summed, variance, count), accountant = releases
    deviation = Grid.of(3.0, exact.size, 2.0).deviation
    assert (count, variance) == (2, 2 * deviation**2)
    assert 6.0 < deviation < 6.0 * 1.006
    assert [(e.noise_multiplier, e.sampling_rate, e.steps) for e in accountant.events] == [
        (2.0, 1.0, 1)
    ] * 2
    noise = ((summed - 2 * exact) / variance**0.5).ravel()
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert stats.chi2.cdf((noise**2).sum(), noise.size) == pytest.approx(0.5, abs=0.499)


def test_a_release_is_charged_before_the_series_are_looked_at(prepared, tmp_path, monkeypatch):
    task, facts, (member, _) = prepared()
    learner, accountant = LocalProblem(task.config, task, facts, member), PrivacyAccountant()

    def failing(_):
        raise OSError("power cut")

    monkeypatch.setattr(task, "bounded_series", failing)
    trainer = NoisySeriesTrainer(
        learner,
        learner.fresh_model("shared"),
        2.0,
        3.0,
        tmp_path,
        stream=AesCtrRng(),
        accountant=accountant,
    )
    with pytest.raises(OSError, match="power"):
        trainer.train_round()
    assert accountant.steps == 1


def test_a_release_without_room_for_its_sum_is_not_charged(prepared, tmp_path, monkeypatch):
    """The sum of the releases is longer than the model, for which alone room was counted."""
    task, facts, (member, _) = prepared()
    learner, accountant = LocalProblem(task.config, task, facts, member), PrivacyAccountant()
    model = learner.fresh_model("shared")
    free, honest = task.bounded_series(member).nbytes, tensor_io.write_atomically

    def write(path, content, **private):
        if len(content) > free:
            raise StorageFullError(path)
        honest(path, content, **private)

    monkeypatch.setattr(tensor_io, "write_atomically", write)
    for _ in range(2):
        trainer = NoisySeriesTrainer(
            learner, model, 2.0, 3.0, tmp_path, stream=AesCtrRng(), accountant=accountant
        )
        with pytest.raises(StorageFullError):
            trainer.train_round()
    assert accountant.steps == 0
    assert list(tmp_path.iterdir()) == []
    free += 1 << 12
    trainer.train_round()
    assert accountant.steps == 1
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size <= free  # what was tried is no less than what is written


def test_what_is_served_is_no_worse_on_validation_than_the_own_forecaster(prepared):
    task, facts, members = prepared()
    torch.manual_seed(0)
    model = task.model(facts, 0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        for member in members:
            served, own, released = (
                total(scored(member, "validation").values()).values()["mape"]
                for scored in (
                    lambda m, s: task.evaluate(model, m, s),
                    task.evaluate_local,
                    lambda m, s: task.evaluate_shared(model, m, s),
                )
            )
            assert served <= own + 1e-9
            assert served <= released + 1e-9


def test_data_without_customers_can_hide_lines_alone(prepared, purchases):
    """The source decides, which is public: a refusal of a table would tell of its one customer."""
    task, facts, _ = prepared()
    tables = load(task.config.data).members[0]
    nobody = tables.transactions.assign(customer=-1)
    own = task.prepare(type(tables)(tables.name, nobody), facts)
    assert own.units == 0
    assert not task.bounded_series(own).any()
    generated = TutorialSettings(table="demand")
    task.config = task.config.model_copy(update={"data": generated})
    with pytest.raises(DataError, match="--unit record"):
        task.prepare(type(tables)(tables.name, nobody), facts)
    records, facts, _ = prepared(unit="record", records_per_customer=5)
    member = records.prepare(type(tables)(tables.name, nobody), facts)
    assert member.units == int((tables.transactions["time"] < pd.Timestamp(facts.steps[-12])).sum())
