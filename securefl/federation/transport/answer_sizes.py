"""The largest answer that each question admits: what is larger is dropped before it is held.

Without it, each member could have the coordinator hold messages of the largest size that any run
needs, a gigabyte, whatever it was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from securefl.federation.transport.timeouts import kind_of

SMALL_ANSWER: Final = 64 << 10
"""Bytes of what has no vector, no table and no list: signatures, a reason, an error; and of every
answer to a question that is not in the table, or that was not asked."""
_SCORES: Final = 1 << 20
"""Bytes of metric sums in the clear, or of a masked vector of them."""
_FLOAT_BYTES: Final = 4
_LANE_BYTES: Final = 8
"""Of the widest lane: how wide they are depends on the cohort of a round."""
_ROW_BYTES: Final = 512
"""Of one peer in a message of a session: dealt shares have about 300."""
_ENTRY_BYTES, _NAME_BYTES = 4096, 80
"""Of a ledger entry, and of each member that it names."""
_ENTRIES: Final = 8
"""Entries of a member in a round: release, outcome, refusals; some more where it was repeated."""


@dataclass(frozen=True)
class AnswerSizes:
    """The largest answers in a run.

    Attributes:
        dimension: d, coordinates of the shared model.
        masked: Coordinates of a masked input: d, padded where it is rotated, and a few more.
        members: Members of the consortium.
        rounds: Rounds of the run.
        proof: Bytes of a member's norm proof; 0 where none is agreed.
    """

    dimension: int
    masked: int
    members: int
    rounds: int
    proof: int = 0

    def largest(self, question: bytes) -> int:
        """Return the most bytes of an answer to this question."""
        return self._table().get(kind_of(question), 0) + SMALL_ANSWER

    def most(self) -> int:
        """Return the most bytes of any answer in this run."""
        return max(self._table().values()) + SMALL_ANSWER

    def _table(self) -> dict[str, int]:
        """Return the bytes by kind of question, beyond those of a small answer."""
        rows = self.members * _ROW_BYTES
        entries = (_ENTRIES * (self.rounds + 32)) * (_ENTRY_BYTES + self.members * _NAME_BYTES)
        masked = self.masked * _LANE_BYTES + rows + self.proof
        return {
            "train": self.dimension * _FLOAT_BYTES,
            # Its keys, or in an open session its first message of the round.
            "train-masked": masked,
            "protocol": masked,
            "release-scores": _SCORES + rows,
            "score-protocol": _SCORES + rows,
            "evaluate": _SCORES,
            "naive": _SCORES,
            "train-alone": _SCORES,
            "begin": entries,
            "conclude": entries,
            "finish": entries,
        }
