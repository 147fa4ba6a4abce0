"""No child of a command gets the passphrase that its environment has."""

import os
import subprocess
import sys

import pytest

from securefl.errors import KeyFileError
from securefl_cli import main as entry
from securefl_cli.options.passphrase import VARIABLE, out_of_environment, passphrase

ASK = f"import os; print(os.environ.get({VARIABLE!r}))"


def test_children_have_no_passphrase_and_the_command_has(monkeypatch):
    monkeypatch.setenv(VARIABLE, "four words are better")
    with out_of_environment():
        told = subprocess.run(
            [sys.executable, "-c", ASK], capture_output=True, text=True, check=True
        )
        assert told.stdout == "None\n"
        assert passphrase(None, "?") == passphrase(None, "?") == b"four words are better"
    assert os.environ[VARIABLE] == "four words are better"


def test_the_next_command_does_not_have_it(monkeypatch):
    monkeypatch.setenv(VARIABLE, "four words are better")
    with out_of_environment():
        pass
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(KeyFileError, match="no terminal"):
        passphrase(None, "?")


def test_every_command_runs_without_it_in_its_environment(monkeypatch):
    seen = []
    monkeypatch.setenv(VARIABLE, "four words are better")
    monkeypatch.setattr(
        entry.securefl, "main", lambda *_, **__: seen.append(VARIABLE in os.environ)
    )
    assert entry.main(["config"]) == 0
    assert seen == [False]
