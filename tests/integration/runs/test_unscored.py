"""Numbers that are none: a run that cannot be judged ends so, and its lines stay JSON."""

import json
import math

import pytest

from securefl.errors import InputError
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.coordinator.scores import SummedScores
from securefl.federation.runs.directory import RunDirectory


def test_a_run_that_nothing_can_judge_is_no_success(small_run, monkeypatch):
    """One line with what may help and exit code 2; no round is called the best."""
    scored = SummedScores.validation

    def unscored(source, *model, **proof):
        return dict.fromkeys(scored(source, *model, **proof), math.nan)

    monkeypatch.setattr(SummedScores, "validation", unscored)
    with pytest.raises(InputError, match=r"no round can be judged: .*data describe") as caught:
        small_run(rounds=2)
    assert caught.value.exit_code == 2


def test_lines_of_metrics_are_json(small_config, tmp_path):
    """Where there is no number a line has null, and reading it back gives the same record."""
    directory = RunDirectory.create(tmp_path / "run", small_config("demand"))
    record = RoundRecord(
        1, ("a", "b"), ("a",), math.nan, {"wape": math.nan}, False, 0.5, customer_epsilon=math.inf
    )
    path = directory.path / "metrics.jsonl"
    from securefl.federation.runs import directory as module

    path.write_text(module._line(record))

    def refuse(name):
        raise AssertionError(name)

    tree = json.loads(path.read_text(), parse_constant=refuse)
    assert (tree["loss"], tree["validation"]) == (None, {"wape": None})
    (again,) = directory.records()
    assert math.isnan(again.loss)
    assert math.isnan(again.validation["wape"])
    assert again.customer_epsilon == math.inf
