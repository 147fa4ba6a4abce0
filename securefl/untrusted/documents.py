"""Parsing of JSON and TOML that other parties wrote: bounded depth, and one meaning."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NoReturn

from securefl.errors import InputError
from securefl.untrusted.files import SMALL, read_text

DEEPEST: Final = 64
"""Levels of objects and arrays; a bundle has about ten."""
_MOST_DOTS: Final = 256
"""Dots in a line of TOML: each may be a level, and tomllib takes the square of them in time."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_STEP: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
_NO_BRACKET = re.compile(r"[^\[\]{}]+")


def read_json(path: Path, largest: int, *, error: type[InputError] = InputError) -> Any:  # noqa: ANN401
    """Return the JSON value in a file.

    Raises:
        InputError: As in `files.read_text` and `parse_json`.
    """
    return parse_json(read_text(path, largest, error=error), str(path), error=error)


def read_toml(
    path: Path, largest: int = SMALL, *, error: type[InputError] = InputError
) -> dict[str, Any]:
    """Return the tree of a TOML file.

    Raises:
        InputError: As in `files.read_text` and `parse_toml`.
    """
    text = read_text(path, largest, error=error).removeprefix("\ufeff")  # some editors write it
    return parse_toml(text, str(path), error=error)


def parse_json(
    text: str,
    where: str,
    *,
    error: type[InputError] = InputError,
) -> Any:  # noqa: ANN401 - JSON of any type
    """Parse JSON text in which no object has a name twice.

    JSON parsers disagree on which of two values under one name counts, and on NaN: two auditors
    could read two different documents from one file.

    Args:
        text: The text.
        where: Its source, with which messages begin.
        error: What is raised.

    Raises:
        InputError: If it is no JSON, nested deeper than `DEEPEST`, ambiguous, or has a number that
            JSON does not know.
    """
    if _depth(text) > DEEPEST:
        raise error(f"{where} is no valid JSON here: nested deeper than {DEEPEST} levels")
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is no valid JSON: {problem}") from None


def parse_toml(text: str, where: str, *, error: type[InputError] = InputError) -> dict[str, Any]:
    """Parse TOML text.

    Args:
        text: The text.
        where: Its source, with which messages begin.
        error: What is raised.

    Raises:
        InputError: If it is no TOML, or nested deeper than `DEEPEST`.
    """
    if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise error(f"{where} has a line with more than {_MOST_DOTS} dots")
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise error(f"{where} is nested deeper than {DEEPEST} levels") from None
    except ValueError as problem:  # tomllib.TOMLDecodeError, or an integer without end
        raise error(f"{where} is no valid TOML: {problem}") from None
    if _deeper(tree):
        raise error(f"{where} is nested deeper than {DEEPEST} levels")
    return tree


def _depth(text: str) -> int:
    """Return how deep brackets are nested, without a recursion that they could exhaust."""
    brackets = _NO_BRACKET.sub("", _STRING.sub("", text))
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _deeper(tree: object) -> bool:
    level: list[object] = [tree]
    for _ in range(DEEPEST + 1):
        below: list[object] = []
        for value in level:
            if isinstance(value, Mapping):
                below += value.values()
            elif isinstance(value, list):
                below += value
        level = below
    return bool(level)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return tree


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
