import shlex

import click
import pytest

from securefl_cli.main import securefl

COMMANDS = [
    "run",
    "compare",
    "budget plan",
    "audit attack",
    "data describe",
    "config show",
    "config init",
]


def command_of(words):
    """The command that some words name, and the words that are left for it."""
    command = securefl
    while isinstance(command, click.Group):
        command, words = command.get_command(click.Context(command), words[0]), words[1:]
    return command, words


def examples(command):
    return [
        line.strip() for line in command.epilog.splitlines() if line.strip().startswith("securefl ")
    ]


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
    assert f"securefl {name}" in outcome.out.partition("Examples:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_in_the_help_is_understood(name):
    command, _ = command_of(name.split())
    for example in examples(command):
        words = shlex.split(example.partition("  ")[0].partition(" > ")[0])[1:]
        named, arguments = command_of(words)
        assert named is command
        named.make_context(name, list(arguments))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    command, _ = command_of(name.split())
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert options
    assert all(option.help for option in options)
