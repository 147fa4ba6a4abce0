"""A member's side of the scores: check, charge, score, add noise, mask, in this order.

What may leave is decided here and not by the coordinator: the scores that the agreement bounds, of
a model that the member accepts, once a run. A session that failed after it was entered stays
charged and is never entered again: the difference of two sums that differ in one member is that
member's scores under its own noise alone, which shared noise does not make large enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.events import ScoreRelease
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.policy import refuse
from securefl.consortium.ledger.releases import (
    RequestedRound,
    recorded_mechanism,
    score_release_event,
)
from securefl.federation import messages as m
from securefl.federation.aggregation.one_sum import OneSum
from securefl.federation.scores.bounded import Integers, bounded_integers
from securefl.federation.scores.session import ring_vector, scored
from securefl.federation.scores.terms import ScoreTerms, score_terms
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.noise.csprng import member_stream
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.score_plan import table_digest
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.errors import ProtocolError
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.primitives.signing import SigningKey

_KIND: Final[str] = ScoreRelease.model_fields["kind"].default
Scoring = Callable[[FloatVector], UnitSums]
"""From the shared model, float32 [d], to the parts of the member's units; reads data."""


class MemberScores:
    """One member's part in the one masked sum of scores of a run under a budget.

    Args:
        ledger: The member's ledger; charged before data are read.
        identity: Its identity key, or the 32 bytes of it.
        consortium: The parties and their agreement.
        units: Number of its privacy units.
        entropy: The source of its session's randomness.
    """

    def __init__(
        self,
        ledger: MemberLedger,
        identity: bytes | SigningKey,
        consortium: Consortium,
        units: int,
        entropy: Entropy = os.urandom,
    ) -> None:
        self._ledger, self._identity = ledger, identity
        self._consortium, self._units, self._entropy = consortium, units, entropy
        self._stream = member_stream(
            consortium.config.privacy, ledger.name, consortium.config.rounds + 1
        )
        self._session: OneSum | None = None
        self._value: Callable[[], RingVector] | None = None

    @property
    def survivors(self) -> tuple[str, ...]:
        """The members in the sum that was shown to this member; none before."""
        return () if self._session is None else self._session.survivors

    def enter(self, request: m.ScoreRequest, shared: FloatVector, scoring: Scoring) -> m.Message:
        """Enter the session of the scores; nothing is charged, and no data are read.

        Args:
            request: The coordinator's request.
            shared: The model in it, which the caller has checked, float32 [d].
            scoring: Scores it, once the scores are charged.

        Raises:
            MessageError: If no score was agreed to leave, or the request is not what was agreed.
            RefusedError: If the budget or the member's cap does not allow it.
        """
        terms = score_terms(self._consortium)
        if terms is None:
            raise m.MessageError("no score leaves this member: none was agreed")
        if request.number != terms.number or request.cohort != self._consortium.roster.names:
            raise m.MessageError("these are not the scores that were agreed")
        # Also after a restart, where only the ledger knows: see the module.
        if self._session is not None or scores_charged(self._ledger):
            raise m.MessageError("the scores of this run were released before")
        try:
            self._check_affordable(terms)
        except RefusedError as error:
            self._ledger.refuse(error.refusal)
            raise
        model = model_digest(shared)
        self._value = partial(self._released, terms, model, partial(scoring, shared))
        self._session = OneSum(
            self._consortium,
            self._ledger.name,
            self._identity,
            parameters=(terms.plan, terms.context),
            number=terms.number,
            digest=scored(model),
            entropy=self._entropy,
        )
        return m.ScoreProtocol(round=terms.number, payload=self._session.start())

    def receive(self, message: m.ScoreProtocol) -> m.Message:
        """Answer one message of the session.

        Raises:
            MessageError: If no session was entered, or the message breaks the protocol.
            RefusedError: If what is left of a cap does not allow the scores any more.
        """
        number = self._consortium.config.rounds + 1
        if self._session is None or self._value is None or message.round != number:
            raise m.MessageError("the message belongs to no scores of this member")
        try:
            answer = self._session.receive(message.payload, self._value)
        except ProtocolError as error:
            raise m.MessageError(str(error)) from None
        return m.Done() if answer is None else m.ScoreProtocol(round=number, payload=answer)

    def _check_affordable(self, terms: ScoreTerms) -> None:
        """Refuse what a charge would refuse, while the others can still go on without us."""
        plan, event = PrivacyPlan.of(self._consortium.config), terms.noise.event
        plan.check_delta(self._ledger.name)
        self._ledger.begin(self._units)
        after = plan.epsilon([*self._ledger.charged(), event])
        if after > plan.budget.epsilon:
            raise RefusedError(
                refuse("budget", number=terms.number, asked=after, allowed=plan.budget.epsilon)
            )
        self._ledger.check(
            terms.number,
            event,
            clip_norm=terms.noise.sensitivity.l2,
            rng=self._stream.description,
        )

    def _released(
        self, terms: ScoreTerms, model: bytes, scoring: Callable[[], UnitSums]
    ) -> RingVector:
        """Charge the scores, and only then compute them; a refused charge sends nothing."""
        asked = RequestedRound(terms.number, self._consortium.roster.names, model.hex())
        charge_scores(
            self._ledger,
            asked,
            table_digest(terms.table),
            terms.noise.event,
            clip_norm=terms.noise.sensitivity.l2,
            rng=self._stream.description,
        )
        most = self._consortium.config.secure.max_samples
        return ring_vector(bounded_integers(terms.table, scoring(), most) + self._noise(terms))

    def _noise(self, terms: ScoreTerms) -> Integers:
        share = np.empty(terms.table.dimension, dtype=np.int64)
        terms.noise.sampler().fill(self._stream, share)
        return share


def charge_scores(
    ledger: MemberLedger,
    asked: RequestedRound,
    scores: bytes,
    event: PrivacyEvent,
    *,
    clip_norm: float,
    rng: str,
) -> None:
    """Charge the scores that are about to be computed and write their entry.

    Args:
        ledger: The member's ledger.
        asked: The sum: its number, its members, and the model that is scored.
        scores: Digest of the bounds of all scores in the sum, 32 bytes.
        event: The mechanism.
        clip_norm: Sensitivity of the integers in the sum.
        rng: Source of the noise, as implemented.

    Raises:
        RefusedError: If the member's cap does not allow it; nothing is charged.
        LedgerError: If the run's scores were charged before: they are released once.
    """
    if scores_charged(ledger):
        raise LedgerError("the scores of this run were released before")
    mechanism = recorded_mechanism(ledger.config.privacy, event, clip_norm, rng)
    ledger.charge_entry(
        asked.number,
        mechanism,
        partial(score_release_event, ledger.config, asked, scores, mechanism),
    )


def scores_charged(ledger: MemberLedger) -> bool:
    """Return whether the scores of this run were charged."""
    number = ledger.config.rounds + 1
    return ledger.privacy_ledger.entry_of(ledger.run, _KIND, number) is not None
