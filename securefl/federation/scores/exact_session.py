"""Scores of a run without a budget: the exact sum over all members, and no member's own.

One sum a question: after each round the validation scores of its model, and after the last one the
scores of the result and of the baseline. Questions go forward. A coordinator that was killed before
it had a sum asks for it again: a member enters it with the same model, the same scores and for the
same survivors, or not, since the difference of two sums that differ in one member is that member's
scores.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Final

import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.round_records import RoundRecords
from securefl.errors import ConfigError
from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import ModelProof, proved_requests
from securefl.federation.aggregation.one_sum import OneSum
from securefl.federation.aggregation.session_driver import ServerSessionRunner
from securefl.federation.scores.exact import MOST_MEMBERS, ExactLayout
from securefl.federation.scores.session import RING, ring_vector, score_session, scored
from securefl.federation.transport.exchange import Exchange, said_once
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.vectors import FloatVector, model_digest
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.errors import PlanError, ProtocolError
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.context import SessionContext

VALIDATION: Final = ("federated",)
CLOSING: Final = ("federated", "naive")
"""The arms of a sum, in order."""

Sums = Callable[[], Sequence[MetricSums]]
"""Returns a member's metric sums, one an arm; reads data."""


@dataclass(frozen=True)
class ExactTerms:
    """The terms of one exact sum.

    Attributes:
        layout: The coordinates of an arm.
        arms: The scored arms.
        number: The round whose model is scored on validation; one more than the rounds of the run
            for the scores of the result on the test cases.
        plan: The session's plan.
        context: Bound into every message of it.
    """

    layout: ExactLayout
    arms: tuple[str, ...]
    number: int
    plan: SessionPlan
    context: SessionContext = field(repr=False)


def exact_terms(consortium: Consortium, layout: ExactLayout, number: int) -> ExactTerms:
    """Return the terms of the exact sum of a number.

    Raises:
        ConfigError: If no score of that number was agreed, or more members than limbs have room
            for.
        PlanError: If the consortium is too small for a masked sum.
    """
    rounds = consortium.config.rounds
    if not 1 <= number <= rounds + 1:
        raise ConfigError(f"no scores of number {number} were agreed")
    if len(consortium.roster.names) > MOST_MEMBERS:
        raise ConfigError("more members than an exact sum of scores has room for")
    arms = CLOSING if number > rounds else VALIDATION
    names = [*arms, *(metric.name for metric in layout.metrics), *layout.denominators]
    dimension = len(arms) * layout.dimension
    plan, context = score_session(consortium, "\n".join(names).encode(), number, dimension)
    return ExactTerms(layout, arms, number, plan, context)


class MemberExactScores:
    """One member's part in the exact sums of a run.

    Args:
        name: The member's name.
        identity: Its identity key, or the 32 bytes of it.
        consortium: The parties and their agreement.
        layout: The coordinates of the task's metrics.
        records: What it entered into sums, in its ledger.
        entropy: The source of its sessions' randomness.

    Attributes:
        last: The number of the last sum that was entered; kept with the member's state.
    """

    def __init__(
        self,
        name: str,
        identity: bytes | SigningKey,
        consortium: Consortium,
        layout: ExactLayout,
        records: RoundRecords,
        *,
        entropy: Entropy = os.urandom,
    ) -> None:
        self._name, self._identity, self._consortium = name, identity, consortium
        self._layout, self._records, self._entropy = layout, records, entropy
        self._session: OneSum | None = None
        self._value: Callable[[], RingVector] | None = None
        self._keys = b""
        self.last = 0

    def enter(self, request: m.ScoreRequest, shared: FloatVector, sums: Sums) -> m.Message:
        """Enter the sum of a number, the newest or a later one; no data are read.

        Args:
            request: The coordinator's request.
            shared: The model in it, which the caller has checked, float32 [d].
            sums: Computes this member's metric sums, once all keys are there.

        Raises:
            MessageError: If the request is not what was agreed, or a later sum was entered.
            ConfigError, PlanError: As `exact_terms`.
        """
        terms = exact_terms(self._consortium, self._layout, request.number)
        if request.cohort != self._consortium.roster.names:
            raise m.MessageError("these are not the scores that were agreed")
        if request.number < self.last:
            raise m.MessageError(f"scores after number {request.number} were released before")
        digest = model_digest(shared)
        self._session = session = OneSum(
            self._consortium,
            self._name,
            self._identity,
            parameters=(terms.plan, terms.context),
            number=terms.number,
            digest=scored(digest),
            entropy=self._entropy,
            # Out of the ledger, which outlives this object's memory and the state folder.
            only=self._records.score_survivors(terms.number),
        )
        opening = session.start()
        self.last, self._keys = terms.number, sha256(opening).digest()
        self._value = partial(self._input, digest, sums)
        return m.ScoreProtocol(round=terms.number, payload=opening)

    def receive(self, message: m.ScoreProtocol) -> m.Message:
        """Answer one message of the session.

        Raises:
            MessageError: If no session was entered, or the message breaks the protocol.
            StaleStateError: If the ledger knows the sum with other contents.
        """
        if self._session is None or self._value is None or message.round != self.last:
            raise m.MessageError("the message belongs to no scores of this member")
        try:
            answer = self._session.receive(message.payload, self._value)
        except ProtocolError as error:
            raise m.MessageError(str(error)) from None
        if answer is None:
            return m.Done()
        self._note(self._session, answer)
        return m.ScoreProtocol(round=self.last, payload=answer)

    def _note(self, session: OneSum, answer: bytes) -> None:
        """Write down, before it leaves, what decides whether the sum may be entered again."""
        if session.masked:  # one masked input under these keys, also from a copy of the journal
            self._records.enter(self.last, self._keys, sha256(answer).digest())
        elif session.signed:
            self._records.sign_scores(self.last, session.signed)

    def _input(self, model: bytes, sums: Sums) -> RingVector:
        """Score, and have the ledger compare the scores with those of a sum before."""
        vector = ring_vector(np.concatenate([self._layout.integers(arm) for arm in sums()]))
        # Keyed: scores are few numbers, and a reader of the ledger could try them all.
        secret = SigningKey.of(self._identity).secret()
        key = hmac.digest(secret, b"securefl/scores" + self._consortium.run_id, "sha256")
        self._records.bind_scores(self.last, model, hmac.digest(key, vector.tobytes(), "sha256"))
        return vector


@dataclass(frozen=True)
class ExactScores:
    """Metric sums over the survivors of one exact sum.

    Attributes:
        arms: Arm to metric sums.
        survivors: The members that are in it.
    """

    arms: dict[str, MetricSums]
    survivors: tuple[str, ...]


def sum_exact(
    exchange: Exchange,
    consortium: Consortium,
    layout: ExactLayout,
    number: int,
    shared: FloatVector,
    *,
    proof: ModelProof | None = None,
) -> ExactScores | str:
    """Return the exact sum of all members' scores, or why there is none.

    Args:
        exchange: The way to the members.
        consortium: The parties and their agreement.
        layout: The coordinates of the task's metrics.
        number: See `ExactTerms`.
        shared: The model that is scored, float32 [d].
        proof: The proof of a round's model, for members that did not verify its sum.
    """
    names, digest = consortium.roster.names, scored(model_digest(shared))
    try:
        terms = exact_terms(consortium, layout, number)
    except (PlanError, ConfigError) as error:
        return f"no masked sum of scores: {error}"
    server = ServerSession(
        plan=terms.plan,
        roster=consortium.roster,
        context=terms.context,
        number=number,
        model=digest,
    )
    session = ServerSessionRunner(cohort=names, server=server, carrier=m.ScoreProtocol)
    request = m.ScoreRequest(number=number, shared=m.pack_vector(shared), cohort=names)
    try:
        openings = proved_requests(consortium, request, names, proof)
        result = session.run(exchange, openings, number, digest)
    except ProtocolError as error:
        return "; ".join([str(error), *said_once({}, session.failures)])
    total = result.total.view(RING.signed_dtype).astype(np.int64)
    parts = np.split(total, len(terms.arms))
    arms = {arm: layout.metric_sums(part) for arm, part in zip(terms.arms, parts, strict=True)}
    return ExactScores(arms, tuple(names[index] for index in result.survivors))
