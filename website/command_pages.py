"""A page for each command, from the command line's own declarations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from written import Page, code, prose, table

from securefl_cli.main import securefl

FOLDER = "reference/commands"


def pages() -> list[Page]:
    """Return the index, then a page for each command, its subcommands in it."""
    root = click.Context(securefl, info_name="securefl")
    found = [(name, securefl.get_command(root, name)) for name in securefl.list_commands(root)]
    rows = [(f"[`securefl {n}`]({n}.md)", prose(c.get_short_help_str(200))) for n, c in found if c]
    index = (
        "# Commands\n\nEvery command answers `-h` and `--help`. What several commands share, and"
        " the codes that they end with, is in [The command line](../cli.md).\n\n"
    )
    made = [
        Page(f"{FOLDER}/{name}.md", name, "\n".join(_command(command, root, name, 1)))
        for name, command in found
        if command
    ]
    return [
        Page(f"{FOLDER}/index.md", "All commands", index + table(("command", "does"), rows)),
        *made,
    ]


def _command(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * level} {context.command_path}\n"
    yield prose(command.help) + "\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    if options := [row for row in map(_option, command.get_params(context)) if row]:
        yield table(("option", "value", "meaning"), options)
    if command.epilog:
        yield _examples(command.epilog)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            inner = command.get_command(context, below)
            if inner is not None:
                yield from _command(inner, context, below, level + 1)


def _option(option: click.Parameter) -> tuple[str, str, str] | None:
    if not isinstance(option, click.Option) or option.hidden:
        return None
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    said = prose(option.help)
    if option.show_default and option.default is not None:
        said += f" Default: {code(option.default)}."
    if option.required:
        said += " Required."
    return names, _value(option), said


def _value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if option.metavar:
        return code(option.metavar)
    if isinstance(option.type, click.Choice):
        return ", ".join(code(choice) for choice in option.type.choices)
    return code(option.type.name)


def _examples(epilog: str) -> str:
    lines = inspect.cleandoc(epilog.replace("\b", "")).splitlines()
    shown: list[str] = []
    for line in map(str.strip, lines):
        if shown and shown[-1].endswith("\\"):
            shown.append(f"    {line}")
        elif line.startswith("securefl"):
            shown.append(line)
    return "```sh\n" + "\n".join(shown) + "\n```\n" if shown else prose(epilog) + "\n"
