"""Calling the command line as a person does, in this process."""

import json
import logging
from dataclasses import dataclass

from securefl_cli.main import main


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


def forget_the_screen():
    """A command shows what reading files has to say until its process ends; here, until it does."""
    log = logging.getLogger("securefl.data.sources.files")
    log.handlers.clear()
    log.setLevel(logging.NOTSET)
    log.propagate = True


def command_line(capsys):
    """Calls the program with the given arguments; what it wrote is in the outcome."""

    def call(*arguments):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        finally:
            forget_the_screen()
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
