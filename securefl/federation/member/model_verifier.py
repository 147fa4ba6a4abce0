"""Verification of the shared model: a member computes the next one from the last and the sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from securefl.consortium.agreement.context import Consortium
from securefl.errors import SecureflError
from securefl.federation.aggregation.model_proofs import (
    RoundEnd,
    moments_digest,
    proved_end,
    round_threshold,
)
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.member.open_session import TrainedUpdate
from securefl.federation.messages import pack_vector
from securefl.ml.vectors import FloatVector, model_digest

Start = Callable[[], bytes]
"""Returns the digest of the agreed start, which the member computes itself."""


class UnverifiedModelError(SecureflError):
    """A model that follows neither from what the member verified nor from what t members signed."""

    wire_name: ClassVar[str] = "UnverifiedModelError"


class ModelVerifier:
    """The shared model as it follows from the agreed start and the sums that were verified.

    Without it, the sum could be right and the next model anything that the coordinator chooses: one
    made to extract members' data, or an old one under a new number. A member that missed a sum goes
    on with a model that t members of that round vouch for; see `model_proofs.py`.

    Args:
        consortium: The parties and their agreement.
        start: Returns the digest of the model before the first round.

    Attributes:
        start: See above.
        rejected: Whether the agreed quorum rejected a round's model, by this member's ledger.
        undecided: Whether a vote on a round's model was agreed, and none was shown to this member.
        unvoted: Whether votes were agreed, and none on this round.
    """

    def __init__(self, consortium: Consortium, start: Start) -> None:
        self._consortium = consortium
        self.start = start
        self.rejected: Callable[[int], bool] = lambda _: False
        self.undecided: Callable[[int], bool] = lambda _: False
        self.unvoted: Callable[[int], bool] = lambda _: False
        self._end: RoundEnd | None = None
        self._own = False  # whether this member verified the sum itself that led to `_end`
        # What that sum was added to: the model's digest and the moments. A round whose sum too many
        # others rejected is repeated from there, also by members that had accepted the sum; and so
        # is the round behind one whose model the members' votes rejected.
        self._before: tuple[bytes, bytes] = (b"", b"")
        self._model: FloatVector | None = None
        self._server: ServerOptimizer | None = None

    def begin(
        self,
        number: int,
        shared: FloatVector,
        proof: bytes,
        moments: bytes,
        digest: bytes | None = None,
    ) -> None:
        """Accept the model (float32 [d]) that a round begins with.

        Args:
            number: Number of the round, from 1.
            shared: The model.
            proof: The proof of the end of the last accepted round; empty where there is none.
            moments: The server optimizer's moments after that round; see `ServerOptimizer.pack`.
            digest: The model's digest, where this member took it already.

        Raises:
            UnverifiedModelError: If it is another model than what this member computed, or the
                member did not verify the round before, and too few others signed its end; or if a
                vote is not shown, or rejects more models in a row than are repeated.
            MessageError: If the proof is malformed.
        """
        before = self._accepted(number)
        self._check_votes(number, before)
        digest, known = digest or model_digest(shared), self.derived(before)
        # What this member verified itself is stronger than any signatures. A sum that was withheld
        # from it leaves it without a model to compare with, and so in no later round.
        if known is not None:
            if digest != known:
                origin = "last sum" if before else "agreement"
                text = f"the model of round {number} does not follow from the {origin}"
                raise UnverifiedModelError(text)
            return
        self._take_up(self._vouched(before, digest, proof), shared, moments)

    def _check_votes(self, number: int, before: int) -> None:
        """Refuse a round that begins before a vote is shown, or after too many rejections.

        Otherwise a coordinator that shows no vote would go on from a model that members rejected.
        """
        # Of any earlier round: behind another training, it could not be taken back any more.
        for voted in range(1, number):
            if self.undecided(voted):
                raise UnverifiedModelError(f"the vote on round {voted} is not shown to this member")
        settings, in_a_row = self._consortium.config.vote, number - 1 - before
        if settings is not None and in_a_row > settings.repeats:
            raise UnverifiedModelError(
                f"{in_a_row} models in a row were rejected, and {settings.repeats} repeats were"
                " agreed"
            )

    def digest_of(self, shared: FloatVector) -> bytes:
        """Return a model's digest; that of the one that this member has by now is not taken anew.

        Compared by its bits: 0.0 and -0.0 are equal, and not the same model.
        """
        mine, end = self._model, self._end
        if mine is None or end is None or mine.shape != shared.shape:
            return model_digest(shared)
        same = np.array_equal(mine.view(np.uint32), shared.view(np.uint32))
        return end.model if same else model_digest(shared)

    def vouched(self, number: int, model: bytes, proof: bytes) -> bool:
        """Return whether t members signed that round `number` ended with a model (digest).

        Raises:
            MessageError: If the proof is malformed.
        """
        return proved_end(self._consortium, number, model, proof) is not None

    def follow(
        self,
        survivors: tuple[str, ...],
        update: TrainedUpdate,
        change: npt.NDArray[np.float64],
    ) -> RoundEnd:
        """Take a round's verified sum, and return the end that it leads to.

        Args:
            survivors: The members in the sum.
            update: The member's own part, of the round and from the model that `begin` accepted.
            change: The mean change, float64 [d].
        """
        if self._server is None:
            self._server = self._optimizer(update.shared.shape[0])
        if self._own and self._end is not None and self._end.round != self._accepted(update.round):
            self._server.unpack(self._before[1])
        self._before = update.model, self._server.pack()
        self._model = self._server.apply(update.shared, change)
        moments = moments_digest(self._server.pack())
        self._end = RoundEnd(update.round, survivors, model_digest(self._model), moments)
        self._own = True
        return self._end

    def verified_end(self, number: int) -> RoundEnd | None:
        """Return how round `number` ended, if it is the last and this member verified its sum."""
        end = self._end
        return end if self._own and end is not None and end.round == number else None

    def derived(self, number: int) -> bytes | None:
        """Return the digest of the model that round `number` ended with; None where unknown."""
        if number == 0:
            return self.start()
        end = self._end
        if end is None or end.round == number:
            return None if end is None else end.model
        return self._before[0] or None if number == self._accepted(end.round) else None

    def _accepted(self, number: int) -> int:
        """Return the last round before `number` whose model was not rejected; 0 without one."""
        while number > 1 and self.rejected(number - 1):
            number -= 1
        return number - 1

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as `<f4` bytes; None if unknown."""
        return None if self._model is None else pack_vector(self._model)

    def state(self) -> dict[str, Any]:
        """Return what a restarted member needs, as plain values."""
        end, model = self._end, self._model
        return {
            "end": None if end is None else [end.round, end.survivors, end.model, end.moments],
            "own": self._own,
            "before": list(self._before),
            "model": None if model is None else pack_vector(model),
            "moments": b"" if self._server is None else self._server.pack(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a `state`."""
        if state["end"] is None:
            return
        number, survivors, model, moments = state["end"]
        self._end, self._own = RoundEnd(number, tuple(survivors), model, moments), state["own"]
        self._before = (state["before"][0], state["before"][1])
        self._model = np.frombuffer(state["model"], dtype="<f4").astype(np.float32)
        self._server = self._optimizer(self._model.shape[0])
        self._server.unpack(state["moments"])

    def _vouched(self, number: int, model: bytes, proof: bytes) -> RoundEnd:
        """Return the end of a round that this member did not verify, as others signed it."""
        end = proved_end(self._consortium, number, model, proof)
        if end is None:
            needed = round_threshold(self._consortium, number)
            raise UnverifiedModelError(
                f"the sum of round {number} was not shown to this member, and fewer than {needed}"
                " members signed what follows from it"
            )
        return end

    def _take_up(self, end: RoundEnd, shared: FloatVector, moments: bytes) -> None:
        """Go on from an end that others signed; its moments are needed to compute the next."""
        server = self._optimizer(shared.shape[0])
        if moments_digest(moments) != end.moments:
            raise UnverifiedModelError(f"these are not the moments after round {end.round}")
        try:
            server.unpack(moments)
        except ValueError as error:
            raise UnverifiedModelError(str(error)) from None
        self._end, self._own, self._before = end, False, (b"", b"")
        self._model, self._server = shared, server

    def _optimizer(self, dimension: int) -> ServerOptimizer:
        return ServerOptimizer(self._consortium.config.server, dimension)
