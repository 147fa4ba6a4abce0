"""The tries of a round of masked sums, as a coordinator must remember them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from securefl.errors import RunDirectoryError
from securefl.ml.tensor_io import write_atomically
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL

_FIELDS: Final = {"round", "model", "bound", "revealed"}


@dataclass
class Tries:
    """The tries of one round.

    Members that revealed shares for a sum enter the round again for its survivors alone, and as
    often as agreed. They know that from their ledgers; a coordinator that forgot it would ask for
    what they refuse.

    Attributes:
        round: Its number, and the digest of its model.
        memory: The file that this is written to before members reveal shares; None where a journal
            brings it back.
        bound: The survivors of the next try, because members have revealed shares for a sum of
            them; none where any are allowed.
        revealed: How many tries came so far that members revealed shares.
        rejected: The sums that failed their checksum.
        spoilers: Members that are not asked in the next tries; see `ServerSessionRunner.spoilers`.
    """

    round: tuple[int, bytes]
    memory: Path | None = None
    bound: tuple[str, ...] = ()
    revealed: int = 0
    rejected: int = 0
    spoilers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, round_: tuple[int, bytes], memory: Path | None) -> Tries:
        """Return the tries of a round, as far as an earlier process of this run wrote them down.

        Raises:
            RunDirectoryError: If the file is damaged.
        """
        fresh = cls(round_, memory)
        if memory is None or not memory.exists():
            return fresh
        kept = read_json(memory, SMALL, error=RunDirectoryError)
        if not isinstance(kept, dict) or kept.keys() != _FIELDS:
            raise RunDirectoryError(f"{memory} is damaged: these are no tries of a round")
        if (kept["round"], kept["model"]) != (round_[0], round_[1].hex()):
            return fresh
        fresh.bound, fresh.revealed = tuple(kept["bound"]), kept["revealed"]
        return fresh

    def reveal(self, survivors: tuple[str, ...]) -> None:
        """Note that members are about to reveal shares for a sum of these survivors; durable."""
        self.bound, self.revealed = survivors, self.revealed + 1
        if self.memory is None:
            return
        number, model = self.round
        fields = {"round": number, "model": model.hex(), "bound": survivors}
        content = json.dumps(fields | {"revealed": self.revealed})
        write_atomically(self.memory, content.encode())
