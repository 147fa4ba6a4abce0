import json
import re
import tomllib
from pathlib import Path

import pytest

from securefl.config.load import SOURCES
from securefl.config.task_registry import TASKS, declaration


@pytest.mark.parametrize(
    "options", [[], ["--task", "demand", "--data", "tutorial", "--rounds", "4"]]
)
def test_show_prints_what_a_run_would_use(cli, options):
    shown = tomllib.loads(cli("config", "show", *options).out)
    Path("shown.toml").write_text(cli("config", "show", *options).out)
    assert tomllib.loads(cli("config", "show", "shown.toml").out) == shown
    assert shown["rounds"] == (4 if options else shown["rounds"])
    as_json = json.loads(cli("config", "show", *options, "--format", "json").out)
    assert as_json["data"]["source"] == shown["data"]["source"]


def test_show_takes_the_options_of_a_run(cli, ratings):
    shown = cli("config", "show", ratings, "--device=auto", "--workers=2", "--no-references")
    tree = tomllib.loads(shown.out)
    assert tree["engine"]["device"] == "auto"
    assert tree["engine"]["workers"] == 2
    assert tree["references"]["enabled"] is False


def test_another_source_or_model_starts_its_section_anew(cli, ratings):
    tree = tomllib.loads(cli("config", "show", ratings, "--data", "complete-journey").out)
    assert "customers" not in tree["data"]
    tree = tomllib.loads(cli("config", "show", ratings, "--data", "tutorial").out)
    assert tree["data"]["customers"] == 60


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("task", TASKS)
def test_a_starter_file_is_valid_and_changes_nothing(cli, task, source):
    if source == "tutorial" and source not in declaration(task).defaults:
        refused = cli("config", "init", "new.toml", "--task", task, "--data", source)
        assert refused.code == 2
        assert f"task '{task}' takes complete-journey or files" in refused.err
        return
    for file, *whole in (("new.toml",), ("all.toml", "--all")):
        init = ("config", "init", file, "--task", task, "--data", source)
        assert cli(*init, *whole).code == 0
        shown = cli("config", "show", file)
        assert shown.code == 0
        if source != "files":
            assert shown.out == cli("config", "show", "--task", task, "--data", source).out


@pytest.mark.parametrize("source", SOURCES)
def test_a_starter_file_has_what_matters(cli, source):
    """A dozen settings beside files and their columns, and the command that writes the rest."""
    cli("config", "init", "new.toml", "--data", source)
    text = Path("new.toml").read_text()
    settings = re.findall(r"^(?:# )?(\w+)(?: =|: not set)", text, re.M)
    assert {"task", "mode", "rounds", "source", "name", "dp", "epsilon", "delta"} <= set(settings)
    assert len(settings) - text.count("[[data.members]]") * 2 <= 20
    assert len(text.splitlines()) <= 75
    (command,) = re.findall(r"^#   (securefl config init --all .*)$", text, re.M)
    assert cli(*command.split()[1:]).code == 0
    assert "# Cap on the norm" in Path("all.toml").read_text()


def test_every_commented_setting_of_a_starter_file_can_be_switched_on(cli):
    cli("config", "init", "new.toml", "--task", "demand", "--data", "tutorial", "--all")
    before = cli("config", "show", "new.toml").out
    lines = Path("new.toml").read_text().splitlines()
    settings = [line.removeprefix("# ") if " = " in line else line for line in lines[3:]]
    Path("new.toml").write_text("\n".join(settings))
    assert cli("config", "show", "new.toml").out == before


def test_a_starter_file_explains_its_settings(cli):
    cli("config", "init", "--all")
    text = Path("securefl.toml").read_text()
    assert "# Cap on the norm of a batch's gradient; no privacy follows from it." in text
    assert "# One of: adam, sgd." in text
    assert max(map(len, text.splitlines())) <= 100


def test_init_never_overwrites(cli, here):
    (here / "securefl.toml").write_text("mine")
    assert cli("config", "init").refused("securefl.toml exists")
    assert (here / "securefl.toml").read_text() == "mine"


def test_init_says_what_comes_next(cli):
    out = cli("config", "init", "a.toml").out
    assert "securefl data describe a.toml" in out
    assert "securefl run a.toml" in out


def test_exact_counts_are_said_before_anything_is_trained(cli, here):
    """On stderr: what is printed is still a configuration."""
    matrix = '[model.parts.matrix.model]\nname = "ease"\n'
    (here / "matrix.toml").write_text(matrix)
    shown = cli("config", "show", "matrix.toml")
    said = " ".join(shown.err.split())
    assert "Warning: The shared item-to-item matrix tells every member" in said
    assert "the 2,000 products that most customers bought" in said
    assert "a 1 is one customer" in said
    assert "matrix" in tomllib.loads(shown.out)["model"]["parts"]
    assert not cli("config", "show").err
    own = matrix + '[model.parts.matrix]\nholder = "own"\n'
    (here / "own.toml").write_text(own)
    assert not cli("config", "show", "own.toml").err
    assert not cli("config", "show", "--model", "ease", "--dp", "local", "--epsilon", "4").err
