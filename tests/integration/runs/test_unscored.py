"""Numbers that are none: a run that cannot be judged ends so, and its lines stay JSON."""

import json
import math
from pathlib import Path

import pytest

from securefl.errors import InputError
from securefl.federation.aggregation.session_driver import ServerSessionRunner
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.coordinator.scores import RoundScores, SummedScores
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.result import Unscored, result_from_json
from securefl.federation.runs.summary_notes import notes
from securefl.federation.scores import exact_session
from securefl_cli.rendering.progress import figures
from securefl_protocols.primitives.errors import ProtocolError


def test_a_run_that_nothing_can_judge_is_no_success(small_run, monkeypatch):
    """One line with what may help and exit code 2; no round is called the best."""
    scored = SummedScores.validation

    def unscored(source, *model, **proof):
        return RoundScores(dict.fromkeys(scored(source, *model, **proof).metrics, math.nan))

    monkeypatch.setattr(SummedScores, "validation", unscored)
    with pytest.raises(InputError, match=r"no round can be judged: .*data describe") as caught:
        small_run(rounds=2)
    assert caught.value.exit_code == 2


def test_a_failed_sum_of_scores_reaches_a_person(small_run, monkeypatch):
    """The round is never the result, and its reason stands in record, JSON, notes and progress."""

    class Failing(ServerSessionRunner):
        def run(self, exchange, openings, number, digest):
            if number == 1:
                raise ProtocolError("two members are gone")
            return super().run(exchange, openings, number, digest)

    monkeypatch.setattr(exact_session, "ServerSessionRunner", Failing)
    result, directory = small_run(rounds=2)
    first, second = directory.records()
    assert (first.unscored, second.unscored) == ("two members are gone", "")
    assert figures(first).endswith("no scores: two members are gone")
    assert result.best_round == 2
    again = result_from_json(json.dumps(result.to_json()), Path("result.json"))
    assert again.unscored == (Unscored((1,), "two members are gone"),)
    assert any("No scores of round 1" in note for note in notes(again))


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
