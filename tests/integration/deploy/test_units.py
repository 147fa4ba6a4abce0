"""The systemd units: their commands exist with these options, and they expose little."""

import re
import shlex
import shutil
import subprocess

import pytest

from securefl_cli.main import securefl
from support.paths import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
MOST_EXPOSED = 3.0
"""Of 10; systemd calls everything below 4 OK."""


def commands(unit):
    """The words of each ExecStart of a unit."""
    joined = unit.read_text().replace("\\\n", " ")
    return [
        shlex.split(line.partition("=")[2]) for line in re.findall(r"^ExecStart=.*$", joined, re.M)
    ]


def test_there_is_a_unit_for_each_party():
    assert {unit.stem for unit in UNITS} == {
        "securefl-broker",
        "securefl-coordinator",
        "securefl-member",
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_name_existing_options(unit):
    """A renamed option would stop a service at its next start."""
    ((program, *words),) = commands(unit)
    if not program.endswith("/securefl"):
        assert program.endswith("/nats-server")
        return
    command = securefl.get_command(None, words[0])
    known = {option for parameter in command.params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= known
    required = {p.opts[0] for p in command.params if p.required and p.param_type_name == "option"}
    assert required <= given


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_expose_little(unit):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    (level,) = re.findall(r"exposure level for \S+: ([0-9.]+)", told.stdout)
    assert float(level) < MOST_EXPOSED
