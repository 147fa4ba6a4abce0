"""Calling the command line as a person does, in this process."""

import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass

import click

from securefl_cli.main import main, securefl
from securefl_cli.rendering.reading import READING_LOGS


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


@contextmanager
def own_logs():
    """A command shows logs until its process ends; here, until the command does."""
    root, shown = logging.getLogger(), list(map(logging.getLogger, READING_LOGS))
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for log in shown:
            log.handlers.clear()
            log.setLevel(logging.NOTSET)
            log.propagate = True


def commands(group=securefl, path=()):
    """Every command with its words; groups are left out."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def command_line(capsys):
    """Calls the program with the given arguments; what it wrote is in the outcome."""

    def call(*arguments):
        capsys.readouterr()
        with own_logs():
            code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
