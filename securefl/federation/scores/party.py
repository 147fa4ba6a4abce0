"""The one part that a member has in sums of scores, as the agreement says: noised, or exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.round_records import records_of
from securefl.federation import messages as m
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.scores.exact_session import MemberExactScores
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.ml.vectors import FloatVector
from securefl.privacy.mechanisms import mechanism_for
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.signing import SigningKey

MayScore = Callable[[int, FloatVector], bool]


class ScoredMember(Protocol):
    """What a member computes for a sum of scores; each method with a model reads data."""

    @property
    def units(self) -> int:
        """Number of its privacy units."""

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """All metrics of the task."""

    def unit_scores(self, shared: FloatVector) -> UnitSums:
        """Return the parts of its units in the bounded scores of a model, float32 [d]."""

    def arm_scores(self, number: int, shared: FloatVector) -> Sequence[MetricSums]:
        """Return its exact metric sums of a number, one an arm; see `exact_session`."""


class ScoreSpec(Protocol):
    """What the spec of a member says of it."""

    @property
    def identity(self) -> bytes | SigningKey:
        """Its identity key, or the 32 bytes of it."""

    @property
    def consortium(self) -> Consortium:
        """The parties and their agreement."""

    @property
    def entropy(self) -> Entropy:
        """The source of its sessions' randomness."""


class ScoreParty:
    """A member's part in all sums of scores of a run.

    Args:
        spec: The member's spec.
        ledger: Its ledger.
        member: Computes the scores.
    """

    def __init__(self, spec: ScoreSpec, ledger: MemberLedger, member: ScoredMember) -> None:
        config = spec.consortium.config
        self._member, self._mode, self._rounds = member, config.mode, config.rounds
        self._exact = MemberExactScores(
            ledger.name,
            spec.identity,
            spec.consortium,
            ExactLayout(member.metrics),
            records_of(ledger),
            entropy=spec.entropy,
        )
        self.receive: Callable[[m.ScoreProtocol], m.Message] = self._exact.receive
        self._noised = None
        if mechanism_for(config.privacy).private:
            # Opacus takes seconds to import, and a run without a budget does not need it.
            from securefl.federation.scores.member import MemberScores

            self._noised = MemberScores(
                ledger, spec.identity, spec.consortium, member.units, spec.entropy
            )
            self.receive = self._noised.receive

    def enter(self, request: m.ScoreRequest, shared: FloatVector, may_score: MayScore) -> m.Message:
        """Enter a sum of scores.

        Args:
            request: The coordinator's request.
            shared: The model in it, float32 [d].
            may_score: Says whether the sum of a number is of a model.

        Raises:
            SecureflError: If it is not what was agreed; see the two kinds of sums.
        """
        if not may_score(request.number, shared):
            raise m.MessageError(f"this is not the model that sum {request.number} is about")
        if self._mode == "plain" and self._noised is None:
            raise m.MessageError("in mode 'plain' scores are in the clear")
        if self._noised is not None:
            return self._noised.enter(request, shared, self._member.unit_scores)
        return self._exact.enter(
            request, shared, partial(self._member.arm_scores, request.number, shared)
        )

    @property
    def last(self) -> int:
        """The number of the last exact sum that was entered; a restarted member needs it."""
        return self._exact.last

    @last.setter
    def last(self, number: int) -> None:
        self._exact.last = number
