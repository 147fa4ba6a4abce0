"""Text of other parties, made safe to be shown: always one line, with nothing invisible in it.

Names of members, products, runs and files reach a terminal, a page and a log. An escape sequence
or a line break in one of them could write a verdict that no audit gave, and a bidirectional
override could show it in another order than it has.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

LONGEST: Final = 2_000
"""Characters of a line that are shown; a sentence about a run has some hundred."""
LONGEST_NAME: Final = 200
"""Characters of a cell of a table; the ledger allows no longer names."""

_NEVER_SHOWN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode's general categories of controls, formats (bidirectional and zero-width characters),
private use, surrogates, unassigned code points, and line and paragraph separators."""
_MOST_MARKS = 4
"""Combining marks on one letter; more of them climb into the lines above and below."""


def shown(text: str, longest: int = LONGEST) -> str:
    r"""Return text as one line in which every character can be seen.

    What cannot be seen is written as an escape of Python, such as `\x1b`, and stays recognisable.
    Square brackets, quotes and ampersands stay as they are: what draws text must not parse it.

    Args:
        text: Any string, lone surrogates included.
        longest: Characters that are kept of the original; the rest is replaced by its length.
    """
    kept, marks = [], 0
    for character in text[:longest]:
        # Nearly all text is ASCII, and a table of 30,000 cells should not wait for lookups.
        if " " <= character <= "~":
            kept.append(character)
            marks = 0
            continue
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if category in _NEVER_SHOWN or marks > _MOST_MARKS:
            kept.append(_escaped(character))
        else:
            kept.append(character)
    more = len(text) - longest
    return "".join(kept) + (f"… ({more:,} more characters)" if more > 0 else "")


def one_line(text: str) -> str:
    """Return the message of an error as one line: its own line breaks become blanks.

    Libraries explain a wrong file in several lines. As blanks they cannot pass for lines of this
    program either.
    """
    return shown(" ".join(text.split()))


_FORMS: Final = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": (
        "write at most 64 letters of English, digits, dots, hyphens and underscores; the first a"
        " letter or a digit"
    ),
    r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$": (
        "write at most 64 letters of English, digits, blanks, dots, hyphens and underscores; the"
        " first a letter or a digit"
    ),
    r"^tls://[A-Za-z0-9.\[\]:-]{1,255}:[0-9]{1,5}$": "write tls://HOST:PORT",
    r"^[0-9a-f]{64}$": "write 64 hexadecimal digits",
}
"""What persons write in a form that has to fit a pattern, by the pattern."""


def fault(found: Mapping[str, Any]) -> str:
    """Return in words what pydantic found wrong with one value.

    Args:
        found: An element of `ValidationError.errors()`.
    """
    form = _FORMS.get(found.get("ctx", {}).get("pattern", ""))
    said = form or str(found["msg"]).removeprefix("Value error, ")
    return f"{said[:1].lower()}{said[1:]}"


def fault_at(found: Mapping[str, Any]) -> str:
    """Return the same after the key of the value, where it is one key's fault."""
    place = ".".join(str(part) for part in found["loc"])
    return f"{place}: {fault(found)}" if place else fault(found)


def shown_document(text: str) -> str:
    r"""Return a TOML document, whose strings may hold anything, with invisible characters escaped.

    TOML writes controls as escapes already and leaves other invisible characters; it reads
    `\u202E` as the character that it stands for. Line breaks of the document itself stay.
    """
    return "".join(
        _escaped(character, toml=True)
        if character != "\n" and unicodedata.category(character) in _NEVER_SHOWN
        else character
        for character in text
    )


def _escaped(character: str, *, toml: bool = False) -> str:
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if toml or code > 0xFF else f"\\x{code:02x}"
