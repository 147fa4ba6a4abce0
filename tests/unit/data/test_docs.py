"""The examples of docs/reference/data.md are settings that validate and code that runs."""

import re
import tomllib

import pytest
from pydantic import TypeAdapter

from securefl.config.data import DataSettings, MemberFiles
from securefl.config.files import FileFormat, LineRules
from securefl.data.sources.complete_journey import tables as journey_tables
from support.paths import page

TEXT = page("data.md").read_text(encoding="utf-8")
TOML = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_every_source_has_an_example():
    sources = [tomllib.loads(block)["data"]["source"] for block in TOML]
    assert sources == ["complete-journey", "tutorial", "files"]


@pytest.mark.parametrize("block", TOML)
def test_toml_examples_validate(block):
    TypeAdapter(DataSettings).validate_python(tomllib.loads(block)["data"])


@pytest.mark.parametrize("block", PYTHON)
def test_python_examples_run(block, capsys):
    exec(compile(block, "docs/reference/data.md", "exec"), {})
    assert "customers=" in capsys.readouterr().out


def test_what_is_left_out_is_listed():
    for name in journey_tables.NOT_MERCHANDISE + journey_tables.NOT_GOODS:
        assert f"`{name}`" in TEXT


def test_settings_of_own_files_validate_and_are_complete():
    """Every setting of format and rules stands in docs/tutorials/own-files.md, at its default."""
    text = page("own-files.md").read_text(encoding="utf-8")
    settings, member = (
        tomllib.loads(block)["data"]
        for block in re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    )
    assert LineRules.model_validate(settings["rules"]) == LineRules()
    assert settings["rules"].keys() == LineRules.model_fields.keys()
    assert settings["format"].keys() | {"sheet"} == FileFormat.model_fields.keys()
    FileFormat.model_validate(settings["format"])
    assert MemberFiles.model_validate(member["members"][0]).database.startswith("postgresql://")
