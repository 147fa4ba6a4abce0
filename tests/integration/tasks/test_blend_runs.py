"""Whole runs of a blend: under masks as in the clear, with a member that vanishes."""

import pytest
import torch

from securefl.federation.runs.compare import compare
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.ml.tensor_io import read_tensors
from securefl.tasks.served.model import open_model
from support.task_configs import blend_config

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
