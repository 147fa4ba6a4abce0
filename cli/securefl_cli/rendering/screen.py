"""What all commands write on stdout: its width, a label with text beside it, a line to copy."""

from __future__ import annotations

import textwrap

from rich.console import Console

WIDEST = 100
_LABEL_WIDTH = 12


def console() -> Console:
    """Stdout, no wider than is good to read; no colours and no wrapping hints in a file."""
    found = Console(highlight=False, soft_wrap=False)
    found.width = min(found.width, WIDEST)
    return found


def labelled(out: Console, label: str, text: str) -> None:
    """A label and wrapped text beside it."""
    indent = " " * _LABEL_WIDTH
    lines = textwrap.wrap(
        text, out.width, initial_indent=label.ljust(_LABEL_WIDTH), subsequent_indent=indent
    )
    out.print("\n".join(lines), markup=False)


def copyable(out: Console, label: str, text: str) -> None:
    """A path or a command stays on one line, however long."""
    out.print(label.ljust(_LABEL_WIDTH) + text, markup=False, soft_wrap=True)
