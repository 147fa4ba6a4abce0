"""Calling the command line as a person does, in this process and in an empty directory."""

import json
from dataclasses import dataclass

import pytest
import torch

from securefl_cli.main import main

RATINGS = """\
task = "recommendation"
rounds = 3

[data]
source = "tutorial"
customers = 60
items = 40
interactions = [300, 600]

[model]
name = "rating-ncf"
dim = 8
hidden = 16
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    def refused(self, *words, code=2):
        """Exactly one line on stderr with these words, and nothing on stdout."""
        assert self.code == code, self
        assert self.out == ""
        assert self.err.startswith("securefl: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        for word in words:
            assert word in self.err
        return True


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ratings(here):
    """A configuration whose run takes a second."""
    path = here / "ratings.toml"
    path.write_text(RATINGS)
    return str(path)


@pytest.fixture
def cli(here, capsys):
    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def interrupted(cli, ratings, monkeypatch):
    """A run that Ctrl-C ended after its first round."""

    def interrupt(*options):
        from securefl.federation.runs.directory import RunDirectory

        save = RunDirectory.save_round

        def save_and_interrupt(self, record, state):
            save(self, record, state)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RunDirectory, "save_round", save_and_interrupt)
            return cli("run", ratings, "--out", "begun", "--no-references", *options)

    return interrupt
