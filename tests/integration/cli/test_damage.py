"""What was begun and has been damaged since: one line, and nothing made worse."""

from pathlib import Path

import pytest


def resume(cli):
    return cli("run", "--resume", "begun", "--quiet", "--format", "json")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[: len(content) // 2],
        lambda content: b"no tensors at all",
        lambda content: b"",
    ],
    ids=["one bit", "cut off", "other content", "empty"],
)
@pytest.mark.parametrize(
    "file", ["checkpoint.safetensors", "members/retailer-2/round-1.safetensors"]
)
def test_a_corrupt_checkpoint(cli, interrupted, file, damage):
    interrupted()
    path = Path("begun", file)
    path.write_bytes(damage(path.read_bytes()))
    kept = path.read_bytes()
    assert resume(cli).refused(file, "damaged")
    assert path.read_bytes() == kept


@pytest.mark.parametrize("line", ["{", "[]", '{"round": 1}'])
def test_a_corrupt_metrics_file(cli, interrupted, line):
    interrupted()
    path = Path("begun/metrics.jsonl")
    path.write_text(line + "\n" + path.read_text())
    assert resume(cli).refused("metrics.jsonl is damaged")


def test_half_a_line_of_metrics_is_what_a_kill_leaves_and_no_damage(cli, interrupted):
    interrupted()
    with Path("begun/metrics.jsonl").open("a") as file:
        file.write('{"round": 2, "co')
    assert resume(cli).code == 0


def test_a_changed_configuration_does_not_go_on_with_the_old_checkpoint(cli, interrupted):
    interrupted()
    path = Path("begun/config.toml")
    path.write_text(path.read_text().replace("rounds = 3", "rounds = 4"))
    assert resume(cli).refused("is of other members or settings than this run's")


def test_a_corrupt_configuration(cli, interrupted):
    interrupted()
    Path("begun/config.toml").write_text("rounds =")
    assert resume(cli).refused("begun/config.toml", "TOML")


def test_a_corrupt_result(cli, ratings):
    cli("run", ratings, "--out", "begun", "--rounds", "1", "--no-references", "--quiet")
    Path("begun/result.json").write_text("{}")
    assert resume(cli).refused("result.json is damaged")


@pytest.mark.parametrize(
    "text", ["repeats =", "repeats = 2", "repeats = 'x'\n[config]\nrounds = 1"]
)
def test_a_corrupt_repeated_run(cli, here, text):
    (here / "begun").mkdir()
    (here / "begun" / "repeat.toml").write_text(text)
    assert resume(cli).refused("repeat.toml")


def test_a_directory_that_cannot_be_locked(cli, interrupted):
    interrupted()
    Path("begun/.lock").unlink()
    Path("begun/.lock").mkdir()
    assert resume(cli).refused("cannot write begun")
