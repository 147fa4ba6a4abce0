"""Commands that are imported on first use, so that `securefl --help` does not wait for torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Interrupted(Exception):
    """The user pressed Ctrl-C; the text says how to resume."""


class LazyGroup(click.Group):
    """A group with a table of its commands: name, module and one line of help."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own arguments
        commands_from: Mapping[str, tuple[str, str]],
        **kwargs: Any,  # noqa: ANN401 - click's own arguments
    ) -> None:
        """Take the table of commands.

        Args:
            *args: As for `click.Group`.
            commands_from: Name to (`module:attribute`, one line of help).
            **kwargs: As for `click.Group`.
        """
        super().__init__(*args, **kwargs)
        self._sources = dict(commands_from)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(self._sources)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of a name; None if there is none."""
        if cmd_name not in self._sources:
            return None
        module, attribute = self._sources[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in the help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in self._sources.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where no command is named."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does, and suggest the nearest name for an unknown one."""
        if args and args[0] not in self._sources and not args[0].startswith("-"):
            from securefl.config.load import nearest

            ctx.fail(f"no command '{args[0]}'{nearest(args[0], tuple(self._sources))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; Ctrl-C ends it with one line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
