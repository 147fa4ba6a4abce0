import json
import re
from pathlib import Path

import pytest

KEYS = {
    "task",
    "mode",
    "seed",
    "rounds",
    "best_round",
    "members",
    "seconds",
    "metrics",
    "privacy",
    "run_dir",
}


def test_the_closing_table_says_what_a_retailer_wants_to_know(cli, ratings):
    outcome = cli("run", ratings, "--out", "out", "--quiet")
    assert outcome.code == 0
    assert outcome.err == ""
    assert max(map(len, outcome.out.splitlines())) <= 80
    for column in ("Alone", "Federated", "Gain", "All data", "place", "Most"):
        assert column in outcome.out
    for row in ("retailer-0", "retailer-4", "All retailers"):
        assert f"\n{row} " in outcome.out
    assert re.search(r"Conclusion +(The federation (helps|does not help)|Parity)", outcome.out)
    assert "no differential privacy; mode secure" in outcome.out
    assert "Results in  out" in outcome.out
    assert "Try next    securefl run out/config.toml --repeat 3" in outcome.out


def test_the_suggested_command_is_understood(cli, ratings):
    cli("run", ratings, "--out", "out", "--quiet", "--no-references", "--rounds", "1")
    assert "rounds = 1" in cli("config", "show", "out/config.toml").out


def test_progress_without_a_terminal_is_a_line_a_round_on_stderr(cli, ratings):
    outcome = cli("run", ratings, "--out", "out", "--no-references")
    rounds = [line for line in outcome.err.splitlines() if line.startswith("round ")]
    assert [line.split()[1] for line in rounds] == ["1/3", "2/3", "3/3"]
    assert all("loss" in line and "Accuracy" in line and "left" in line for line in rounds)
    assert "round 1/3" not in outcome.out


def test_json_is_one_object_and_all_else_goes_to_stderr(cli, ratings):
    outcome = cli("run", ratings, "--out", "out", "--format", "json")
    assert outcome.code == 0
    assert outcome.out.count("\n") == 1
    assert outcome.json.keys() >= KEYS
    assert outcome.json["metrics"].keys() == {"federated", "alone", "pooled", "naive"}
    assert outcome.json["privacy"] is None
    assert outcome.json["run_dir"] == "out"
    assert outcome.json == json.loads(Path("out/result.json").read_text())
    assert "round 3/3" in outcome.err


def test_options_win_over_the_file_only_where_given(cli, ratings):
    result = cli("run", ratings, "--seed", "7", "--rounds", "1", "--no-references", "--format=json")
    assert result.json["seed"] == 7
    assert result.json["rounds"] == 1
    assert result.json["task"] == "recommendation"
    assert result.json["metrics"].keys() == {"federated", "naive"}


def test_without_out_the_directory_tells_task_mode_seed_and_time(cli, ratings):
    result = cli("run", ratings, "--rounds=1", "--no-references", "--quiet", "--format=json").json
    assert re.fullmatch(r"runs/recommendation-secure-seed0-\d{8}T\d{6}Z", result["run_dir"])
    assert (Path(result["run_dir"]) / "model.safetensors").exists()


def test_a_second_run_does_not_touch_the_first(cli, ratings):
    cli("run", ratings, "--out", "out", "--rounds", "1", "--no-references", "--quiet")
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    assert cli("run", ratings, "--out", "out", "--seed", "1").refused("--resume out")
    assert before == {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}


def test_ctrl_c_says_how_to_go_on_and_going_on_gives_the_same_result(cli, ratings, interrupted):
    stopped = interrupted("--quiet", "--format", "json")
    assert stopped.refused("go on with: securefl run --resume begun", code=130)
    resumed = cli("run", "--resume", "begun", "--format", "json")
    assert "going on after round 1" in resumed.err
    whole = cli("run", ratings, "--out", "whole", "--no-references", "--format", "json")
    assert resumed.json["metrics"] == whole.json["metrics"]
    same = [Path(run, "model.safetensors").read_bytes() for run in ("begun", "whole")]
    assert same[0] == same[1]


def test_a_finished_run_is_shown_again(cli, ratings):
    first = cli("run", ratings, "--out", "out", "--no-references", "--format", "json", "--quiet")
    again = cli("run", "--resume", "out", "--format", "json", "--quiet")
    assert again.json == first.json


def test_repeat_reports_mean_and_spread(cli, ratings):
    options = ("--repeat", "2", "--seed", "3", "--no-references", "--rounds", "2")
    result = cli("run", ratings, "--out", "out", "--format", "json", *options).json
    assert result.keys() == KEYS | {"spread", "runs"}
    assert [run["seed"] for run in result["runs"]] == [3, 4]
    values = [run["metrics"]["federated"]["accuracy"] for run in result["runs"]]
    assert result["metrics"]["federated"]["accuracy"] == pytest.approx(sum(values) / 2)
    assert result["spread"]["federated"]["accuracy"] == pytest.approx(
        abs(values[0] - values[1]) / 2**0.5
    )
    assert {path.name for path in Path("out").iterdir()} >= {"seed-3", "seed-4", "result.json"}
    assert "± over 2 seeds" in cli("run", "--resume", "out", "--quiet").out


@pytest.mark.slow
def test_an_interrupted_repeat_goes_on_with_what_is_left(cli, ratings, interrupted):
    stopped = interrupted("--quiet", "--repeat", "2")
    assert stopped.refused("securefl run --resume begun", code=130)
    result = cli("run", "--resume", "begun", "--format", "json", "--quiet").json
    assert [run["seed"] for run in result["runs"]] == [0, 1]
    whole = cli(
        "run", ratings, "--out", "whole", "--no-references", "--repeat=2", "--format=json"
    ).json
    assert result["metrics"] == whole["metrics"]
