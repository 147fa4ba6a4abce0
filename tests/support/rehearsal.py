"""Rounds without training: members that sum numbers of their own, to try a network or time it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.journal_fence import JournalFence
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger, book_path
from securefl.consortium.ledger.round_records import RoundRecords
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.member.open_session import TrainedUpdate
from securefl.federation.member.secure_client import MaskedMember
from securefl.ml.seeds import derive_seed
from securefl.ml.vectors import FloatVector, model_digest
from securefl_protocols.primitives.entropy import Entropy

_DRAWN = 1 << 16
"""Numbers that are drawn; a longer vector repeats them, so that a rehearsal is no training."""


def rehearsed_change(name: str, number: int, dimension: int) -> FloatVector:
    """What a member says that it has learnt in a round, float32 [d]; anybody can compute it."""
    draw = np.random.default_rng(derive_seed(0, "rehearsal", name, number))
    return np.resize(draw.standard_normal(min(dimension, _DRAWN), dtype=np.float32), dimension)


def trained(number: int, shared: FloatVector) -> TrainedUpdate:
    """An update of no change, for what looks at its round and its model alone."""
    return TrainedUpdate(number, shared, np.zeros_like(shared), 0.0, 1)


class RehearsingMember:
    """Answers the questions of a round as a member does, with an update from nowhere."""

    def __init__(
        self, name: str, identity: bytes, consortium: Consortium, entropy: Entropy, folder: Path
    ) -> None:
        """Waits for the first round.

        Args:
            name: The member's name.
            identity: Its private identity key, 32 bytes.
            consortium: Who takes part.
            entropy: Where its randomness comes from.
            folder: Has its ledger.
        """
        self.name, self._start = name, b""
        self._made = name, identity, consortium, entropy
        self.ledger = PrivacyLedger(book_path(folder, name))
        records = RoundRecords(lambda: self.ledger, consortium.run_id.hex())
        self.fence = JournalFence(lambda: self.ledger, consortium.run_id.hex())
        self._records = records
        self._begin()

    def _begin(self) -> None:
        name, identity, consortium, entropy = self._made
        self.masked = MaskedMember(
            name, identity, consortium, self._records, entropy, start=lambda: self._start
        )

    def anew(self) -> Self:
        """This member with its ledger, as if it had answered nothing."""
        again = copy(self)
        again._start = b""
        again._begin()
        return again

    def begin_after_loss(self) -> None:
        """Nothing: its ledger refuses what it entered."""

    def close(self) -> None:
        """Close its ledger."""
        self.ledger.close()

    def handle(self, message: bytes) -> Sequence[bytes]:
        """The reply to one message."""
        try:
            reply = self._answer(m.decode(message))
        except SecureflError as error:
            blames = getattr(error, "blames", "")
            reply = m.Failure(error=error.wire_name, text=str(error), blames=blames)
        return [m.encode(reply)]

    def _answer(self, request: m.Message) -> m.Message:
        if isinstance(request, m.TrainMasked):
            # What a rehearsal agreed on: it starts from zeros, however many there are.
            zeros = np.zeros(len(request.shared) // 4, np.float32)
            self._start = self._start or model_digest(zeros)
            self.masked.admit(request)
            return self.masked.enter(request, self._update(request))
        if isinstance(request, m.Train):
            return self._plain(request)
        if isinstance(request, m.Protocol):
            return self.masked.receive(request)
        if isinstance(request, m.Save):
            return m.Done()
        raise m.MessageError(f"a rehearsal does not answer '{type(request).__name__}'")

    def _plain(self, request: m.Train) -> m.Update:
        """The update of a round in the clear, with which a benchmark compares the masked one."""
        shared = m.unpack_vector(request.shared)
        change = m.pack_vector(rehearsed_change(self.name, request.round, shared.shape[0]))
        return m.Update(round=request.round, samples=1, change=change, loss=1.0)

    def _update(self, request: m.TrainMasked) -> TrainedUpdate:
        shared = m.unpack_vector(request.shared)
        change = rehearsed_change(self.name, request.round, shared.shape[0])
        return TrainedUpdate(request.round, shared, change, 1.0, 1)

    vote_room = 0

    def following(self) -> bytes | None:
        """The model that follows from the last sum, as it travels; None if we cannot tell."""
        return self.masked.following()

    def state(self) -> bytes:
        """What it has to know between two rounds."""
        return self.masked.state()

    def restore(self, state: bytes) -> None:
        """The inverse of `state`."""
        self.masked.restore(state)
