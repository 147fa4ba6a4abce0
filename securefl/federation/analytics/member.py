"""A member's side of a query: check, charge, add the noise share, mask, in this order.

What may be asked is in `answers.QUERY_ANSWERS`, and not decided by the coordinator: a member
answers one query a run, if its policy and its cap allow it, with the noise that was agreed. A
session that failed stays charged once it was entered, and is never entered again: the difference of
two sums that differ in one member is that member's answer with a single share of noise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.data_custody import LedgerContext, RefusedError
from securefl.consortium.ledger.events import Outcome, QuestionRefusal
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.data.tables import RetailerTables
from securefl.federation import messages as m
from securefl.federation.aggregation.one_sum import OneSum
from securefl.federation.analytics.columns import Catalogue
from securefl.federation.analytics.contributions import contribution
from securefl.federation.analytics.queries import Query, read_query
from securefl.federation.analytics.terms import (
    RING,
    ROUND,
    answer_digest,
    noise_of,
    price_of,
    query_digest,
    query_session,
)
from securefl.federation.member.answer_gate import AnswerGate
from securefl.federation.member.answers import QUERY_ANSWERS, Phase, Protection
from securefl.federation.member.refusing import RefusingMember
from securefl.federation.member.replying import reply_to
from securefl.federation.member.secure_client import AbortedError
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.shares import NoisePlan
from securefl.privacy.plan import PrivacyPlan
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.errors import ProtocolError
from securefl_protocols.primitives.ring import RingVector

TASK = "analytics"


@dataclass(frozen=True)
class QueryContext:
    """Everything a process needs to host a member that answers a query.

    Attributes:
        tables: The retailer's tables; not used before the query is charged.
        units: Number of its customers, counted when the tables were loaded.
        catalogue: The agreed catalogue.
        custody: Ledger, policy and data set.
        consortium: The parties and their agreement.
        identity: The member's private Ed25519 key, 32 bytes.
        entropy: The source of its session's randomness.
    """

    tables: RetailerTables
    units: int
    catalogue: Catalogue
    custody: LedgerContext
    consortium: Consortium
    identity: bytes = field(repr=False)
    entropy: Entropy = os.urandom

    @property
    def name(self) -> str:
        """The member's name."""
        return self.tables.name

    @property
    def cost(self) -> int:
        """Number of customers."""
        return self.units

    def build(self) -> AnalyticsMember | RefusingMember:
        """Return the member; one whose policy forbids the query reads no data."""
        ledger = MemberLedger(
            self.name, self.identity, self.consortium, self.custody, Path(), task=TASK
        )
        refusal = ledger.refusal()
        return AnalyticsMember(self, ledger) if refusal is None else RefusingMember(ledger, refusal)


@dataclass
class _Entered:
    """The query that was admitted, and the session that it is answered in.

    Attributes:
        query: The query.
        digest: Its digest, 32 bytes.
        noise: The plan of the noise share, as this member computed it.
        session: The session.
    """

    query: Query
    digest: bytes
    noise: NoisePlan
    session: OneSum


class AnalyticsMember:
    """A member that answers the coordinator's messages about one query."""

    def __init__(self, spec: QueryContext, ledger: MemberLedger) -> None:
        self.ledger = ledger
        self._spec = spec
        self._entered: _Entered | None = None
        protection = Protection.of(spec.consortium.config)
        self._gate = AnswerGate(QUERY_ANSWERS, protection, self._record_refused)
        self._stream = AesCtrRng()
        self._answers: dict[type[m.Message], Callable[[Any], m.Message]] = {
            m.QueryRequest: self._ask,
            m.Protocol: self._receive,
            m.Conclude: self._conclude,
            m.Finish: self._finish,
        }

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the reply to one message; an error becomes a `Failure`, whatever it is."""
        return reply_to(message, self._answer)

    def _answer(self, request: m.Message) -> m.Message:
        try:
            return self._answers[self._gate.admit(request).question](request)
        except RefusedError as error:
            self.ledger.refuse(error.refusal)
            raise
        except ProtocolError as error:
            raise AbortedError(str(error)) from None

    def _record_refused(self, question: str, phase: str, reason: QuestionRefusal) -> None:
        self.ledger.begin(self._spec.units)  # a chain of entries begins with the start
        self.ledger.refuse_question(question, phase, reason)

    def close(self) -> None:
        """Close its ledger."""
        self.ledger.close()

    def _ask(self, request: m.QueryRequest) -> m.Message:
        consortium = self._spec.consortium
        query = read_query(request.query)
        if request.cohort != consortium.roster.names:
            raise AbortedError("a query is answered by all members of the agreement")
        noise = noise_of(consortium.config, len(request.cohort), query, self._spec.catalogue)
        PrivacyPlan.of(consortium.config).check_delta(self._spec.name)
        digest = query_digest(query, self._spec.catalogue)
        # Before the session is entered: a member that its cap forbids to answer refuses here, where
        # the others can still go on without it. It is charged only when data are used (`_begin`).
        self.ledger.begin(self._spec.units)
        self._gate.advance(Phase.IN_ROUNDS)
        self.ledger.enter(ROUND, request.cohort, digest.hex())
        self.ledger.check(ROUND, price_of(noise), **self._terms_of(noise))
        session = self._session(query, digest)
        self._entered = _Entered(query, digest, noise, session)
        return m.Protocol(round=ROUND, payload=session.start())

    def _session(self, query: Query, digest: bytes) -> OneSum:
        spec = self._spec
        parameters = query_session(spec.consortium, query, spec.catalogue)
        return OneSum(
            spec.consortium,
            spec.name,
            spec.identity,
            parameters=parameters,
            number=ROUND,
            digest=digest,
            entropy=spec.entropy,
        )

    def _receive(self, message: m.Protocol) -> m.Message:
        entered = self._entered
        if entered is None or message.round != ROUND:
            raise AbortedError("the message belongs to no query of this member")
        answer = entered.session.receive(message.payload, partial(self._charged, entered))
        return m.Done() if answer is None else m.Protocol(round=ROUND, payload=answer)

    def _charged(self, entered: _Entered) -> RingVector:
        """Charge the query, and only then read the data; a refused charge sends nothing."""
        self.ledger.charge(price_of(entered.noise), **self._terms_of(entered.noise))
        return self._noised(entered)

    def _noised(self, entered: _Entered) -> RingVector:
        answer = contribution(self._spec.tables, self._spec.catalogue, entered.query, self._stream)
        share = np.empty_like(answer)
        entered.noise.sampler().fill(self._stream, share)
        answer += share
        return answer.astype(RING.signed_dtype).view(RING.dtype)

    def _terms_of(self, noise: NoisePlan) -> dict[str, Any]:
        return {"clip_norm": noise.sensitivity.l2, "rng": self._stream.description}

    def _conclude(self, request: m.Conclude) -> m.Entries:
        entered = self._entered
        result = None if entered is None else entered.session.result
        if entered is None or result is None or request.round != ROUND:
            raise m.MessageError("no sum was shown to this member")
        survivors = entered.session.survivors
        if request.survivors != survivors or request.model != answer_digest(result.total):
            raise m.MessageError("the sum that was shown is another one")
        transcript = request.transcript.hex() if request.transcript else None
        model = request.model.hex()
        self.ledger.conclude(
            Outcome(round=ROUND, survivors=survivors, model_after=model, transcript=transcript)
        )
        self._gate.advance(Phase.ROUNDS_ENDED)
        return self._entries(request.since)

    def _finish(self, request: m.Finish) -> m.Entries:
        self.ledger.end(request.rounds)
        self._gate.advance(Phase.CLOSED)
        return self._entries(request.since)

    def _entries(self, since: int) -> m.Entries:
        return m.Entries(entries=self.ledger.entries(since), signed=0)
