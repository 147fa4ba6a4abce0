"""Whole runs that rank new products among themselves."""

import pytest

from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from securefl.federation.runs.summary import summarise
from support.task_configs import PRIVATE, content_config


@pytest.mark.parametrize(("protection", "mode"), [("local", "plain"), ("distributed", "secure")])
def test_a_private_run_end_to_end(tmp_path, purchases, protection, mode):
    privacy = PRIVATE | {"dp": protection}
    directory = RunDirectory.create(
        tmp_path / "run", content_config(purchases, mode=mode, privacy=privacy)
    )
    result = run(directory)
    assert result.metrics["released"].keys() == result.metrics["federated"].keys()
    assert 0 < result.privacy.members[0].epsilon <= 8.0
    headings = [table.heading for table in summarise(result).tables]
    assert any(heading.startswith("HR@10 new") for heading in headings)


@pytest.mark.parametrize("mode", ["plain", "secure"])
@pytest.mark.parametrize("model", ["hybrid", "ease"])
def test_a_run_scores_every_arm_on_new_products_too(tmp_path, purchases, mode, model):
    changes = {"model": {"name": model}, "rounds": 1, "references": {"enabled": mode == "plain"}}
    result = run(
        RunDirectory.create(tmp_path / "run", content_config(purchases, mode=mode, **changes))
    )
    for arm in result.metrics.values():
        assert 0 <= arm["hr@10_cold"] <= 1
