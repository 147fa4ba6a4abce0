"""Tables as text: how wide each column is, and where a cell is folded."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from securefl.untrusted.text import LONGEST_NAME, shown

Span = tuple[str, str]
"""Text with its style."""
_LEAST = 4
"""Columns of a terminal below which no column of a table is narrowed."""
_HEADING = 8
"""Characters at which a heading is wrapped, unless a word or a cell is wider."""


@dataclass(frozen=True)
class Cell:
    """A cell of several lines, each a text with its style.

    Attributes:
        spans: The lines; what is too long in one of them is folded.
        longest: Characters that are shown of each.
    """

    spans: tuple[Span, ...]
    longest: int = LONGEST_NAME

    @property
    def lines(self) -> tuple[Span, ...]:
        """Return the lines, safe to be shown."""
        return tuple((shown(text, self.longest), style) for text, style in self.spans)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Heading.
        right: Whether its cells are numbers, which stand to the right.
        firm: Narrowed only when no other column can be.
        width: Its width, where that does not follow from its cells.
    """

    title: str = ""
    right: bool = False
    firm: bool = False
    width: int = 0


@dataclass(frozen=True)
class Table:
    """A table of foreign text.

    Attributes:
        columns: Its columns.
        rows: Cells by row.
        totals: Rows below a line, in bold.
        headed: Whether the titles are printed, above a line.
        indent: Blanks before each row.
        gap: Blanks between columns.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell]]
    totals: Sequence[Sequence[str | Cell]] = ()
    headed: bool = True
    indent: int = 0
    gap: int = 2


def drawn(table: Table, width: int) -> Iterator[list[Span]]:
    """Yield the lines of a table that is at most `width` wide."""
    rows, totals = [_cells(row) for row in table.rows], [_cells(row) for row in table.totals]
    heading = _cells([column.title for column in table.columns])
    room = width - table.indent - table.gap * (len(table.columns) - 1)
    widths = _widths(table, [*rows, *totals], room)
    rule = [("─" * (sum(widths) + table.gap * (len(widths) - 1)), "")]
    if table.headed:
        yield from _row(table, heading, widths, "bold", bottom=True)
        yield rule
    for row in rows:
        yield from _row(table, row, widths, "")
    if totals:
        yield rule
    for row in totals:
        yield from _row(table, row, widths, "bold")


def _cells(row: Sequence[str | Cell]) -> list[tuple[Span, ...]]:
    return [(cell if isinstance(cell, Cell) else Cell(((cell, ""),))).lines for cell in row]


def _widths(table: Table, rows: Sequence[Sequence[tuple[Span, ...]]], room: int) -> list[int]:
    """Return the width of every column; the widest ones give way where there is no room."""
    texts = [
        [text for row in rows for text, _ in row[place]] for place in range(len(table.columns))
    ]
    found = [
        column.width
        or max([_heading_width(column.title) if table.headed else 1, *map(columns_of, cells)])
        for column, cells in zip(table.columns, texts, strict=True)
    ]
    words = [
        max(_LEAST, _widest_word(column.title) if table.headed else 1, *map(_widest_word, cells))
        for column, cells in zip(table.columns, texts, strict=True)
    ]
    # Firm columns give way last, and no word is broken while a line can be broken at a blank.
    for least in (words, [_LEAST] * len(words)):
        for giving in (False, True):
            while sum(found) > room:
                yielding = [
                    place
                    for place, column in enumerate(table.columns)
                    if column.firm <= giving and not column.width and found[place] > least[place]
                ]
                if not yielding:
                    break
                found[max(yielding, key=lambda place: found[place])] -= 1
    return found


def _widest_word(text: str) -> int:
    return max(map(columns_of, text.split(" ")))


def _heading_width(title: str) -> int:
    return max(_widest_word(title), min(columns_of(title), _HEADING))


def _row(
    table: Table,
    cells: Sequence[tuple[Span, ...]],
    widths: Sequence[int],
    style: str,
    *,
    bottom: bool = False,
) -> Iterator[list[Span]]:
    folded = [
        [(part, own or style) for text, own in spans for part in folds(text, width)]
        for spans, width in zip(cells, widths, strict=True)
    ]
    height = max(map(len, folded), default=0)
    blank = [("", "")]
    padded = [
        blank * (height - len(lines)) + lines if bottom else lines + blank * (height - len(lines))
        for lines in folded
    ]
    for level in range(height):
        line: list[Span] = [(" " * table.indent, "")]
        for place, (column, width) in enumerate(zip(table.columns, widths, strict=True)):
            text, own = padded[place][level]
            blanks = " " * (width - columns_of(text))
            gap = " " * table.gap if place else ""
            parts: list[Span] = [(gap, ""), (blanks, ""), (text, own)]
            line += parts if column.right else [parts[0], parts[2], parts[1]]
        yield line


def folds(text: str, width: int) -> list[str]:
    """Fold text at blanks, and within a word that is wider than a line."""
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if columns_of(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while columns_of(line) > width:
            cut = _fitting(line, width)
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line]


def _fitting(text: str, width: int) -> int:
    """Return how many characters of text fit, at least one."""
    taken = 0
    for place, character in enumerate(text):
        taken += columns_of(character)
        if taken > width:
            return max(place, 1)
    return len(text)


def columns_of(text: str) -> int:
    """Return the columns of a terminal that text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in {"W", "F"})
        for c in text
    )
