"""The only way of a command to its reader: lines and tables on a terminal, JSON and TOML as data.

Whatever is written here may come from another party: a name, a reason, a path. Every string is
therefore one line (`securefl.untrusted.text.shown`), no string is parsed for markup, and a test
keeps all other modules of the command line from writing past this one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from securefl.untrusted.text import shown, shown_document
from securefl_cli.rendering.grid import Table, drawn

WIDEST = 100
_LABEL_WIDTH = 12
_LONGEST_COPY = 20_000
"""A command to copy is worth nothing when cut; a path has 4,096 bytes at most."""
_STYLES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "bold red": "1;31"}
"""Select Graphic Rendition of ECMA-48."""


def open_closed_streams() -> None:
    """Open standard streams that a shell has closed (`>&-`), on the null device.

    Python has None for one; and the next file that is opened would get its number, and with it
    what a library writes there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


class Screen:
    """Output of a command, at most `WIDEST` wide, without colours in a file.

    Args:
        err: Write to stderr and not to stdout.
    """

    def __init__(self, *, err: bool = False) -> None:
        self._err = err
        self.width = min(shutil.get_terminal_size().columns, WIDEST)

    def line(self, text: str = "", style: str = "") -> None:
        """Print a paragraph, wrapped to the width.

        Further lines are indented: what stands at the left edge was written by this program, and
        is not the end of a long name.
        """
        parts = textwrap.wrap(shown(text), self.width, subsequent_indent="  ")
        for part in parts or [""]:
            self._write(part, style)

    def paragraph(self, text: str) -> None:
        """Print several sentences of this program, wrapped to the width."""
        for part in textwrap.wrap(shown(text, _LONGEST_COPY), self.width):
            self._write(part, "")

    def whole(self, text: str, style: str = "") -> None:
        """Print a line that is not wrapped, however long."""
        self._write(shown(text, _LONGEST_COPY), style)

    def spans(self, *parts: tuple[str, str]) -> None:
        """Print one line of parts, each a text with its style."""
        self._row((shown(text), style) for text, style in parts)

    def table(self, table: Table) -> None:
        """Print a table; cells are folded where there is no room."""
        for row in drawn(table, self.width):
            self._row(row)

    def _write(self, text: str, style: str) -> None:
        self._row([(text, style)])

    def _row(self, parts: Iterable[tuple[str, str]]) -> None:
        stream = sys.stderr if self._err else sys.stdout
        coloured = _coloured(stream)
        text = "".join(_styled(text, style) if coloured else text for text, style in parts)
        _put(stream, text.rstrip() + "\n")


def console() -> Screen:
    """Return the screen on stdout."""
    return Screen()


def labelled(out: Screen, label: str, text: str) -> None:
    """Print a label and wrapped text next to it."""
    lines = textwrap.wrap(
        shown(text),
        out.width,
        initial_indent=shown(label).ljust(_LABEL_WIDTH),
        subsequent_indent=" " * _LABEL_WIDTH,
    )
    for line in lines:
        out.whole(line)


def copyable(out: Screen, label: str, text: str) -> None:
    """Print a path or a command on one line, however long, so that it can be copied."""
    out.whole(label.ljust(_LABEL_WIDTH) + text)


def print_json(tree: Any, default: Callable[[Any], Any] | None = None) -> None:  # noqa: ANN401
    """Print a JSON value on one line of ASCII: foreign text is data, and every escape is inert.

    Raises:
        ValueError: If a number is infinite or none at all, which JSON cannot express.
    """
    _put(sys.stdout, json.dumps(tree, default=default, allow_nan=False) + "\n")


def print_toml(text: str) -> None:
    """Print a TOML document."""
    _put(sys.stdout, shown_document(text))


def print_lines(text: str) -> None:
    """Print text of several lines to stderr: a traceback, each line of which may quote anything."""
    for line in text.splitlines():
        _put(sys.stderr, shown(line) + "\n")


def _put(stream: TextIO, text: str) -> None:
    """Write at once; what the terminal's encoding lacks becomes an escape and no traceback."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _styled(text: str, style: str) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and text else text


def _coloured(stream: TextIO) -> bool:
    """Return whether colours are wanted: on a terminal, unless its user has none (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain
