"""A command that needs an extra names it: no package is taken for granted, none is forgotten."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from securefl.errors import EXTRAS
from securefl.federation.transport.nats import dev_broker
from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PACKAGES = ("securefl", "protocols/securefl_protocols", "cli/securefl_cli")
ALWAYS = {re.split(r"\W", need.replace("-", "_"))[0] for need in PROJECT["dependencies"]}
WITH_THEM = {"markupsafe", "pydantic_core"}
"""What a plain installation brings, and what of that cannot come without the rest."""
OURS = {"securefl", "securefl_protocols", "securefl_cli"}
HIDDEN = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from securefl.errors import EXTRAS

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in EXTRAS
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from securefl_cli.main import main
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        code = main(words)
    print(json.dumps([code, said.getvalue()]))
"""
PARTY = ["agreement.toml", "--key", "k", "--facts", "f"]
COMMANDS = [
    (["coordinator", *PARTY, "--out", "o"], "network"),
    (["member", *PARTY], "network"),
    (["status", "folder"], "network"),
    (["doctor", *PARTY], "network"),
    (["data", "describe", "--data", "complete-journey"], "demo"),
]
"""Commands to the extra that they need before they look at anything else."""
AFTER_A_RUN = [
    (["serve", "MODEL"], "serve"),
    (["export", "MODEL", "--format", "onnx", "--out", "onnx"], "export"),
    (["export", "MODEL", "--format", "mlflow", "--out", "mlflow"], "mlflow"),
    (["data", "describe", "excel.toml"], "excel"),
    (["run", "norms.toml", "--out", "norms", "--no-references", "--quiet"], "proofs"),
]
"""Those that need a model or a file first."""


def ask(commands, folder):
    """The outcomes of commands in a process where no extra is installed."""
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, json.dumps([words for words, _ in commands])],
        cwd=folder,
        env=os.environ | {"SECUREFL_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def foreign_imports():
    """Top-level names of all that the shipped packages import, but Python's and their own."""
    for folder in PACKAGES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module]
                for name in (name.partition(".")[0] for name in names):
                    if name not in OURS and name not in sys.stdlib_module_names:
                        yield path.relative_to(ROOT).as_posix(), name


def test_every_import_is_a_dependency_or_an_extra():
    """So that a new one cannot be used without saying who brings it."""
    known = {*ALWAYS, *WITH_THEM, *EXTRAS}
    unknown = {(path, name) for path, name in foreign_imports() if name not in known}
    assert not unknown


def test_every_extra_of_the_table_exists():
    assert set(EXTRAS.values()) <= PROJECT["optional-dependencies"].keys()


def named(outcome, extra):
    code, said = outcome
    return code == 2 and said.count("\n") == 1 and f"'securefl[{extra}]'" in said


def test_command_names_the_extra_that_it_needs(tmp_path):
    """One line, exit code 2, and what to install."""
    for (words, extra), outcome in zip(COMMANDS, ask(COMMANDS, tmp_path), strict=True):
        assert named(outcome, extra), (words, outcome)


@pytest.mark.slow
def test_command_after_a_run_names_its_extra(tmp_path):
    """With a model, and with a file that only an extra can read."""
    (tmp_path / "run.toml").write_text(
        'task = "churn"\nrounds = 1\n[data]\nsource = "tutorial"\ntable = "purchases"\n'
    )
    (tmp_path / "norms.toml").write_text(
        'task = "churn"\nrounds = 1\nmode = "secure"\n[secure]\nnorm = 1.0\n'
        '[data]\nsource = "tutorial"\ntable = "purchases"\n'
    )
    (tmp_path / "sales.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "catalogue.csv").write_text("product\n1\n")
    (tmp_path / "excel.toml").write_text(
        'task = "recommendation"\n[data]\nsource = "files"\ncatalogue = "catalogue.csv"\n'
        + "".join(
            f'[[data.members]]\nname = "{name}"\ntransactions = "sales.xlsx"\n' for name in "abc"
        )
    )
    model = "run/members/retailer-0/model"
    rest = [([word.replace("MODEL", model) for word in words], e) for words, e in AFTER_A_RUN]
    training = (["run", "run.toml", "--out", "run", "--no-references", "--quiet"], "")
    outcomes = ask([training, *rest], tmp_path)
    assert outcomes[0][0] == 0, outcomes[0]
    for (words, extra), outcome in zip(rest, outcomes[1:], strict=True):
        assert named(outcome, extra), (words, outcome)


def test_broker_that_is_not_installed(monkeypatch):
    """It is a program and no module."""
    monkeypatch.setattr(dev_broker.shutil, "which", lambda *_, **__: None)
    with pytest.raises(Exception, match=r"securefl\[broker\]"):
        dev_broker.broker_program()
