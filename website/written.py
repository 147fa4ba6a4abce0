"""Markdown that is written by programs: tables, headings, and text that came from code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_PAGE = re.compile(r"(?<![\w(/\[])(?:docs/[a-z]+/)?([a-z-]+)\.md\b(?!\))")


@dataclass(frozen=True)
class Page:
    """A page that is made from code and lies in no file.

    Attributes:
        path: Where it would lie under docs/.
        title: What the navigation calls it.
        text: Its Markdown.
    """

    path: str
    title: str
    text: str


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; line breaks and bars in cells are kept out of its structure."""
    lines = [_row(head), _row(["---"] * len(head))]
    return "\n".join([*lines, *(_row([_cell(cell) for cell in row]) for row in rows)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", r"\|")


def code(value: object) -> str:
    """Return inline code; nothing for nothing."""
    text = str(value)
    return f"`{text}`" if text else ""


def prose(text: str | None) -> str:
    """Return a docstring's text as Markdown: names of pages become code."""
    return _PAGE.sub(r"`\1.md`", " ".join((text or "").split())).replace("<", "&lt;")


def summary(thing: object) -> str:
    """Return the first paragraph of the docstring of a class or a function."""
    return prose((thing.__doc__ or "").partition("\n\n")[0])


def attributes(thing: object) -> dict[str, str]:
    """Return what a docstring's section `Attributes` says, by name."""
    section = (thing.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)", section, flags=re.MULTILINE)
    return {name: prose(text) for name, text in found}
