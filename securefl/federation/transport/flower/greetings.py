"""When the coordinator greets a node of Flower that is no member's yet, and when again."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Final

_log = logging.getLogger(__name__)
_AGAIN_SECONDS: Final = 5.0
"""After an answer that made it no member's, before a node is greeted once more."""
_PATIENCE_SECONDS: Final = 60.0
"""Before a node that has not answered is greeted once more; each further time twice as long.

A node takes a message every few seconds, and one after the other: greeted faster than it answers,
it would answer only greetings that are not waited for any more."""


@dataclass(frozen=True)
class Greeted:
    """A node that was greeted.

    Attributes:
        again: When it is greeted once more; seconds of the monotonic clock.
        seconds: How long it had last for an answer.
        empty: Whether it answered that no member does.
    """

    again: float
    seconds: float = _PATIENCE_SECONDS / 2
    empty: bool = False

    def anew(self, now: float) -> Greeted:
        """Return the same node, greeted now."""
        return replace(self, again=now + 2 * self.seconds, seconds=2 * self.seconds)


class Greetings:
    """The nodes that were greeted and are still there.

    Attributes:
        nodes: By the node's number.
    """

    def __init__(self) -> None:
        self.nodes: dict[int, Greeted] = {}

    def due(self, online: set[int], known: set[int], now: float) -> list[int]:
        """Return the nodes to greet now, and forget those that left.

        Args:
            online: The nodes that are there.
            known: Those of which the member is known.
            now: Seconds of the monotonic clock.
        """
        # A node may answer no greeting, or come under another number each time.
        kept = {node: one for node, one in self.nodes.items() if node in online}
        found = [node for node in online - known if node not in kept or kept[node].again <= now]
        self.nodes = kept | {node: kept.get(node, Greeted(now)).anew(now) for node in found}
        return found

    def answered(self, node: int, *, empty: bool) -> None:
        """Note an answer; that no member is behind a node is said once.

        It is greeted as long as it is there: its member may be started any time.
        """
        before = self.nodes.get(node)
        if empty and (before is None or not before.empty):
            _log.warning("node %d has no member behind its socket: is it started?", node)
        self.nodes[node] = Greeted(time.monotonic() + _AGAIN_SECONDS, empty=empty)
