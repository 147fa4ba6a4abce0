"""Names that people can tell apart, on screen, on paper and by phone."""

from __future__ import annotations

from collections.abc import Iterable

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
    """What is left of an ASCII name when characters that look alike are one."""
    text = name.lower()
    for written, seen in _LOOK_ALIKES:
        text = text.replace(written, seen)
    return text


def confusable(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that a person could take for each other."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(look(name), name)
        if other != name:
            return other, name
    return None
