"""Lines of a CSV file that none of them can make another program's of: each stands alone.

A quote that is opened and not closed takes the lines below with it, and one byte that is no UTF-8
makes a guess of a whole file. Where no customer may touch another, such a line is blanked, and then
left out by its shape, by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

BROKEN: Final = "?"
"""What stands for a line that does not stand alone: one cell, as no table of ours has it."""

_LONGEST: Final = 1 << 18
"""Characters of a line that are believed: as bytes, they are fewer than the engine takes."""


class LinesAlone:
    """Passes text on, line by line; what is no line by itself becomes `BROKEN`.

    A cell has no quote, or begins and ends with one and has them doubled within; no cell goes over
    the end of its line.

    Args:
        separator: Between cells.
        quote: Around cells; empty where quotes mean nothing.
    """

    def __init__(self, separator: str, quote: str) -> None:
        between, around = re.escape(separator), re.escape(quote)
        plain = rf"[^{between}{around}]*+"
        quoted = rf"{around}(?:[^{around}]|{around}{around})*+{around}" if quote else plain
        cell = rf"(?:{quoted}|{plain})"
        self._line = re.compile(rf"{cell}(?:{between}{cell})*+")
        self._quote = quote
        self._rest = ""

    def __call__(self, text: str, *, last: bool = False) -> str:
        """Return the lines that a further piece of text ends; with `last`, all that is left."""
        lines = (self._rest + text).split("\n")
        # Of a line beyond belief only its length is kept: it must not fill the memory.
        self._rest = "" if last else lines.pop()[: _LONGEST + 1]
        ended = "" if last or not lines else "\n"
        return "\n".join(self._each(lines)) + ended

    def _each(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            odd = "\0" in line or len(line) > _LONGEST
            if self._quote and self._quote in line:
                odd = odd or self._line.fullmatch(line) is None
            yield BROKEN if odd else line
