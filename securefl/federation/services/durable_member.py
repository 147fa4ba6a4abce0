"""What a member's process needs of the member in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class DurableMember(Protocol):
    """A party that can be restored from the state that it returned."""

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the reply to one message."""

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as it travels."""

    def state(self) -> bytes:
        """Return what it needs between two rounds."""

    def restore(self, state: bytes) -> None:
        """Take up a `state`."""

    def begin_after_loss(self) -> None:
        """Enter no round that the ledger knows: the journal is new, and the member may not be."""

    def anew(self) -> DurableMember:
        """Return this member as it was built, with its ledger, as if it had answered nothing."""
