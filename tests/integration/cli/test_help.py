import shlex

import click
import pytest

from securefl_cli.main import securefl
from support.command_line import commands

COMMANDS = dict(commands())


def command_of(words):
    """The command that some words name, and the words that are left for it."""
    command = securefl
    while isinstance(command, click.Group):
        command, words = command.get_command(click.Context(command), words[0]), words[1:]
    return command, words


def examples(command):
    """The commands in the examples; what is indented further goes on with the line before."""
    lines = command.epilog.partition("Example")[2].splitlines()[1:]
    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    found = []
    for line in lines:
        text = line[least:]
        if text.startswith(" "):  # a line that a shell would take for a command, but for the sign
            assert found[-1].endswith(" \\"), text
            found[-1] = found[-1].removesuffix("\\") + text.strip()
        elif text.startswith("securefl "):
            found.append(text)
    return found


def test_the_list_of_commands_names_each_with_its_help(cli):
    outcome = cli("--help")
    assert outcome.code == 0
    for name in ("run", "data", "config"):
        assert f"\n  {name} " in outcome.out


def test_no_command_at_all_shows_the_help(cli):
    assert cli().out == cli("--help").out
    assert cli("data").out == cli("data", "--help").out


def test_version(cli):
    import securefl as library

    assert cli("--version").out == f"securefl {library.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_the_terminal_and_has_examples(cli, name):
    outcome = cli(*name.split(), "--help")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert f"securefl {name}" in outcome.out.partition("Example")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_in_the_help_is_understood(name, monkeypatch):
    # The files of the examples are not there.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: value)
    found = examples(COMMANDS[name])
    assert found
    for example in found:
        words = shlex.split(example.partition("  ")[0].partition(" > ")[0])[1:]
        named, arguments = command_of(words)
        named.make_context(name, list(arguments))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_takes_in_words(name):
    """With a help text, and with a name for its value that is not a type of the library."""
    command = COMMANDS[name]
    context = click.Context(command)
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag:
            assert option.help
            shown = option.make_metavar(context)
            assert not {"TEXT", "INTEGER", "FLOAT", "RANGE", "PATH]"} & set(shown.split()), option
            assert "%" not in shown, option
