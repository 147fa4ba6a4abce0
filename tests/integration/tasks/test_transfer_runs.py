"""Whole runs that start one department with what others taught."""

import pytest

from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from support.task_configs import PRIVATE, transfer_config


@pytest.mark.parametrize(
    ("mode", "privacy"),
    [
        ("plain", {}),
        ("secure", {}),
        ("plain", PRIVATE),
        ("secure", PRIVATE | {"dp": "distributed"}),
    ],
)
def test_a_run_end_to_end(tmp_path, purchases, mode, privacy):
    chosen = transfer_config(
        purchases, mode=mode, privacy=privacy, references={"enabled": not privacy}
    )
    result = run(RunDirectory.create(tmp_path / "run", chosen))
    expected = {"released"} if privacy else {"alone", "pooled"}
    assert set(result.metrics) == {"federated", "naive"} | expected
    assert result.rounds == 2
