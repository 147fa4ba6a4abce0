"""Whole runs of a blend: under masks as in the clear, with a member that vanishes."""

import pytest
import torch

from securefl.audit.dossier.evidence import gather
from securefl.audit.dossier.parties import views
from securefl.federation.runs.compare import compare
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.result import result_from_json
from securefl.federation.runs.run import run
from securefl.federation.runs.summary import summarise
from securefl.ml.tensor_io import read_tensors
from securefl.tasks.served.model import open_model
from support.task_configs import SMALL_GRU, blend_config

PARTS = {
    "matrix": {"model": {"name": "ease", "items": 20}},
    "features": {"task": "hybrid", "model": {"name": "hybrid", "rank": 2}},
    "content": {"task": "content", "model": {"name": "content", "rank": 2}},
    "order": {"task": "sequential", "holder": "own", "model": {**SMALL_GRU, "name": "attention"}},
}
"""What is no part of the packaged blend."""
AWAY = {"dropouts": [{"member": "west", "round": 1, "step": "masked-input"}]}


@pytest.mark.parametrize(
    "simulation",
    [pytest.param({}, id="all", marks=pytest.mark.slow), pytest.param(AWAY, id="gone")],
)
def test_masked_sums_of_a_blend_are_exact(tmp_path, purchases, simulation):
    """Bit for bit those of the same integers in the clear, sums of sales included."""
    found = compare(blend_config(purchases, simulation=simulation), tmp_path / "both")
    assert found.integer_sums_identical
    assert found.holds


@pytest.mark.slow
def test_a_blend_is_served_as_one_model(tmp_path, purchases):
    directory = RunDirectory.create(tmp_path / "run", blend_config(purchases))
    result = run(directory)
    served = open_model(tmp_path / "run" / "members" / "north" / "model")
    closing = next(one for one in result.members if one.name == "north").metrics["federated"]
    assert served.evaluate() == pytest.approx(closing)
    listed = served.recommend(k=3)
    assert (listed.groupby("customer")["rank"].max() == 3).all()
    names = read_tensors(directory.model_path)[0].keys()
    assert {name.split(".")[1] for name in names} == {"mf", "gru", "lately"}
    assert all(
        torch.isfinite(value).all() for value in read_tensors(directory.model_path)[0].values()
    )


@pytest.mark.slow
def test_parts_of_other_tasks_are_trained_and_served_as_packaged_ones(tmp_path, purchases):
    """Masked sums are exact, a resumed run is that of one go, and what is served is the result."""
    config = blend_config(purchases, model={"parts": PARTS})
    found = compare(config, tmp_path / "both")
    assert found.integer_sums_identical
    assert found.holds
    directory = RunDirectory.create(tmp_path / "run", config)
    save, rounds = directory.save_round, []

    def interrupted(record, state):
        save(record, state)
        rounds.append(record.round)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "save_round", lambda _, *given: interrupted(*given))
        with pytest.raises(KeyboardInterrupt):
            run(directory)
    result = run(RunDirectory.open(tmp_path / "run"))
    assert rounds == [1]
    whole = run(RunDirectory.create(tmp_path / "whole", config))
    assert result.metrics == whole.metrics
    served = open_model(tmp_path / "run" / "members" / "north" / "model")
    closing = next(one for one in result.members if one.name == "north").metrics["federated"]
    assert served.evaluate() == pytest.approx(closing)
    assert (served.recommend(k=3).groupby("customer")["rank"].max() == 3).all()
    disclosed(result, tmp_path / "run")


def disclosed(result, path):
    """Exact counts are in the closing summary, in the result's file and in the dossier."""
    (said,) = result.discloses
    assert "the 20 products that most customers bought" in said
    assert said in summarise(result).notes
    file = path / "result.json"
    assert result_from_json(file.read_text(encoding="utf-8"), file).discloses == (said,)
    assert any(said in view.learns for view in views(gather(path)))
