"""Confusable names: two members must not have names that are easily mistaken for each other.

A member called `n0rth` beside `north` could have its key bundle accepted as the other's.
"""

from __future__ import annotations

from collections.abc import Iterable

# Applied in this order to the lower-case name: the pairs first, so that "rn" is still two letters
# when it is read as "m"; then characters that differ by a few pixels or not at all when spoken.
_LOOK_ALIKES = (
    ("rn", "m"),
    ("vv", "w"),
    ("0", "o"),
    ("1", "l"),
    ("i", "l"),
    (".", "-"),
    ("_", "-"),
)


def look(name: str) -> str:
    """Return an ASCII name with every look-alike character replaced by one representative."""
    text = name.lower()
    for written, representative in _LOOK_ALIKES:
        text = text.replace(written, representative)
    return text


def confusable(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that look alike; None where all are distinguishable."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(look(name), name)
        if other != name:
            return other, name
    return None
