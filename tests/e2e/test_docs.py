"""The documentation says what the program does: examples run, options exist."""

import re
import shlex

import click
import pytest

from securefl_cli.main import securefl
from support.paths import page

FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(name, language):
    text = page(name).read_text(encoding="utf-8")
    return [body for kind, body in FENCE.findall(text) if kind == language]


def commands():
    lines = "\n".join(blocks("cli.md", "sh")).replace("\\\n", " ").splitlines()
    return [line.partition("#")[0].partition(" > ")[0].strip() for line in lines if line.strip()]


@pytest.mark.parametrize("block", blocks("python-api.md", "python"))
def test_the_python_example_runs(block, here):
    exec(compile(block, "python-api.md", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_documentation_is_understood(line):
    program, *words = shlex.split(line)
    assert program == "securefl"
    command = securefl
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.get_command(click.Context(command), words.pop(0))
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known | {"--help", "--version"}


def test_every_option_of_a_run_is_documented():
    text = page("cli.md").read_text(encoding="utf-8")
    run = securefl.get_command(click.Context(securefl), "run")
    for option in run.params:
        if isinstance(option, click.Option):
            assert option.opts[0] in text, option.name
