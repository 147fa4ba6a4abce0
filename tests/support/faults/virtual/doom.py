"""Kills between any two durable steps: a party dies when it has done so many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from support.faults.virtual.world import KilledError


class Doom:
    """How many durable steps a process lives yet.

    Attributes:
        left: How many; None for ever.
        full: Whether its disk takes nothing.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self.full = False

    def passed(self) -> None:
        """Note a step.

        Raises:
            KilledError: If it was the last one.
        """
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            raise KilledError

    def follow(self, thing: object, names: Iterable[str]) -> None:
        """Have calls of these methods of an object count as steps, before and after."""
        for name in names:
            setattr(thing, name, self._followed(getattr(thing, name)))

    def _followed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*values: object, **named: object) -> Any:
            self.passed()
            result = call(*values, **named)
            self.passed()
            return result

        return step

    def fill(self, thing: object, name: str, error: Callable[[], Exception]) -> None:
        """Have calls of a method fail as long as the disk is full."""
        call = getattr(thing, name)

        def refused(*values: object, **named: object) -> Any:
            if self.full:
                raise error()
            return call(*values, **named)

        setattr(thing, name, refused)
