"""Output of all commands on stdout: its width, text with a label, a line to copy."""

from __future__ import annotations

import textwrap

from rich.console import Console

WIDEST = 100
_LABEL_WIDTH = 12


def console() -> Console:
    """Return a console on stdout, at most `WIDEST` wide, without colours in a file."""
    found = Console(highlight=False, soft_wrap=False)
    found.width = min(found.width, WIDEST)
    return found


def labelled(out: Console, label: str, text: str) -> None:
    """Print a label and wrapped text next to it."""
    indent = " " * _LABEL_WIDTH
    lines = textwrap.wrap(
        text, out.width, initial_indent=label.ljust(_LABEL_WIDTH), subsequent_indent=indent
    )
    out.print("\n".join(lines), markup=False)


def copyable(out: Console, label: str, text: str) -> None:
    """Print a path or a command on one line, however long, so that it can be copied."""
    out.print(label.ljust(_LABEL_WIDTH) + text, markup=False, soft_wrap=True)
