"""Whole runs of one round, in which what is bought together is counted over all retailers."""

import pytest
import torch

from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors
from securefl.tasks.recommendation.models.ease import gram
from support.task_configs import PRIVATE, ease_config, prepared


def exact_gram(task, facts, members):
    model = task.model(facts, 0)
    histories = (m.examples.histories.padded(torch.arange(len(m.examples))) for m in members)
    return gram(model.bought(*history) for history in histories)


@pytest.mark.parametrize("mode", ["plain", "secure"])
def test_the_trained_matrix_is_the_exact_sum_over_all_retailers_customers(
    tmp_path, purchases, mode
):
    chosen = ease_config(purchases, mode=mode)
    directory = RunDirectory.create(tmp_path / mode, chosen)
    run(directory)
    task, facts, members = prepared(chosen)
    customers = sum(len(member.examples) for member in members)
    mean = read_tensors(directory.model_path)[0]["together.weight"].double()
    exact = exact_gram(task, facts, members)
    assert torch.equal((mean * customers).round(), exact)
    assert float(exact.diagonal().min()) > 0


@pytest.mark.parametrize(("protection", "mode"), [("local", "plain"), ("distributed", "secure")])
def test_a_private_run_releases_a_noised_matrix(tmp_path, purchases, protection, mode):
    chosen = ease_config(
        purchases,
        mode=mode,
        privacy=PRIVATE | {"dp": protection},
        model={"level": "category"},
    )
    assert (chosen.rounds, chosen.privacy.steps, chosen.server.learning_rate) == (1, 1, 1.0)
    directory = RunDirectory.create(tmp_path / "run", chosen)
    result = run(directory)
    task, facts, members = prepared(chosen)
    found = read_tensors(directory.model_path)[0]["together.weight"].double()
    clipped = torch.zeros(8, 8, dtype=torch.float64)
    for member in members:
        rows = task.model(facts, 0).bought(
            *member.examples.histories.padded(torch.arange(len(member.examples)))
        )
        clipped += gram([rows / rows.norm(dim=1, keepdim=True)])
    noise = found * 20 * len(members) - clipped
    sigma = result.privacy.members[0].noise_multiplier
    honest = len(members) if protection == "local" else 1
    assert 0.5 < float(noise.std()) / (sigma * honest**0.5) < 2.5
    assert {"federated", "released", "naive"} <= set(result.metrics)
