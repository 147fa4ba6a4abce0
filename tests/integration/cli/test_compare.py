import json

import pytest

from securefl_cli.main import main

SMALL = """
rounds = 2
task = "demand"
[data]
source = "tutorial"
table = "demand"
products = 6
days = 160
[engine]
workers = 1
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


def test_compare_prints_one_object_that_says_the_sums_are_exact(tmp_path, config, capsys):
    out = str(tmp_path / "compare")
    arguments = ["compare", config, "--out", out, "--format", "json", "--quiet"]
    assert main([*arguments, "--drop", "retailer-2@2:unmask"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["integer_sums_identical"] is True
    assert found["max_abs_difference"] <= found["bound"]
    assert found["plain"]["metrics"].keys() == found["secure"]["metrics"].keys()


def test_compare_shows_a_person_what_it_found(tmp_path, config, capsys):
    arguments = ["compare", config, "--out", str(tmp_path / "compare"), "--quiet"]
    assert main([*arguments, "--drop", "retailer-2@2:masked-input"]) == 0
    shown = capsys.readouterr().out
    assert "Exact sums  yes, bit by bit in 2 rounds" in shown
    assert "round 2: without retailer-2" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--drop", "retailer-2"], "write member@round:step"),
        (["--drop", "retailer-2@2:lunch"], "simulation.dropouts"),
        (["--task", "demnd"], "did you mean 'demand'"),
        (["--out", "/dev/null/x"], "cannot write"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(config, capsys, arguments, message):
    assert main(["compare", config, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
