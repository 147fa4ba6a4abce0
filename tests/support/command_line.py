"""Calling the command line as a person does, in this process."""

import json
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


def command_line(capsys):
    """Calls the program with the given arguments; what it wrote is in the outcome."""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
