import json
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
    assert cli("config", "init", "new.toml", "--task", task, "--data", source).code == 0
    shown = cli("config", "show", "new.toml")
    assert shown.code == 0
    if source != "files":
        assert shown.out == cli("config", "show", "--task", task, "--data", source).out


def test_every_commented_setting_of_a_starter_file_can_be_switched_on(cli):
    cli("config", "init", "new.toml", "--task", "demand", "--data", "tutorial")
    before = cli("config", "show", "new.toml").out
    lines = Path("new.toml").read_text().splitlines()
    settings = [line.removeprefix("# ") if " = " in line else line for line in lines[3:]]
    Path("new.toml").write_text("\n".join(settings))
    assert cli("config", "show", "new.toml").out == before


def test_a_starter_file_explains_its_settings(cli):
    cli("config", "init")
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
