"""A member's side of mode `secure`: its update enters a masked sum and is never sent alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

from securefl import messages as m
from securefl.aggregation.terms import (
    Consortium,
    Terms,
    encode_update,
    model_digest,
    session_terms,
)
from securefl.cohort import agreed_cohort
from securefl.errors import SecureflError
from securefl.models.locality import FloatVector
from securefl_protocols.client import ClientSession, ClientState
from securefl_protocols.errors import ProtocolError
from securefl_protocols.results import RoundResult
from securefl_protocols.signing import SigningKey


class AbortedError(SecureflError):
    """The member saw a violation of the protocol, or cannot take part, and sends nothing."""


@dataclass(frozen=True)
class TrainedUpdate:
    """What local training in a round gave.

    Attributes:
        round: Number of the round.
        shared: The model that training started from, float32 [d].
        change: The change of the shared parameters, float32 [d].
        loss: Mean training loss.
        samples: Sample count, the weight.
    """

    round: int
    shared: FloatVector
    change: FloatVector
    loss: float
    samples: int


class MaskedMember:
    """Holds a member's session and answers its messages."""

    def __init__(self, name: str, identity: bytes, consortium: Consortium) -> None:
        self._name = name
        self._identity = SigningKey(identity)
        self._consortium = consortium
        self._number: int | None = None
        self._cohort: tuple[str, ...] = ()
        self._terms: Terms | None = None
        self._client: ClientSession | None = None
        self._update: TrainedUpdate | None = None
        self._last_unmasked = 0

    def admit(self, request: m.TrainMasked) -> None:
        """Check a request before training for it.

        The cohort is the one that follows from the agreement, and an update is unmasked in one sum
        at most: of two sums that differ in one member, the difference is that member's update.

        Raises:
            AbortedError: If the request is not what was agreed.
        """
        config, names = self._consortium.config, self._consortium.roster.names
        if request.cohort != agreed_cohort(config, names, request.round):
            raise AbortedError(f"this is not the cohort that was agreed for round {request.round}")
        if request.round <= self._last_unmasked:
            raise AbortedError(f"the update of round {request.round} has entered a sum already")

    def enter(self, request: m.TrainMasked, update: TrainedUpdate) -> m.Message:
        """Take the trained update into the round that was asked for and admitted.

        Raises:
            AbortedError: If the session is not what was agreed, or the update is out of range.
        """
        self._update = update
        try:
            if request.session != self._number:
                return self._open(request, update)
            if request.cohort != self._cohort:
                raise AbortedError("the cohort of a session does not change")
            return self._begin(update)
        except (ProtocolError, ValueError) as error:
            raise AbortedError(str(error)) from None

    def receive(self, message: m.Protocol) -> m.Message:
        """Answer one message of the session.

        Raises:
            AbortedError: If the message breaks the protocol; the session is over for good.
        """
        client, update = self._client, self._update
        if client is None or update is None or message.round != update.round:
            raise AbortedError("the message belongs to no round of this member")
        try:
            answers = client.receive(message.payload)
            if not answers:
                return self._begin(update)
        except ProtocolError as error:
            raise AbortedError(str(error)) from None
        answer = answers[0]
        if isinstance(answer, RoundResult):
            return m.Done()
        if client.state is ClientState.UNMASKED:
            self._last_unmasked = update.round
        return m.Protocol(round=update.round, payload=answer)

    def _open(self, request: m.TrainMasked, update: TrainedUpdate) -> m.Protocol:
        terms = session_terms(self._consortium, request.cohort, update.shared.shape[0])
        self._client = ClientSession(
            plan=terms.plan,
            roster=self._consortium.part(request.cohort),
            index=request.cohort.index(self._name),
            identity=self._identity,
            context=terms.context,
            entropy=os.urandom,
        )
        self._terms, self._number, self._cohort = terms, request.session, request.cohort
        keys = self._client.start(update.round, model_digest(update.shared))
        return m.Protocol(round=update.round, payload=keys)

    def _begin(self, update: TrainedUpdate) -> m.Protocol:
        if self._client is None or self._terms is None:
            raise AbortedError("no session is open")
        vector = encode_update(self._terms.encoding, update.change, update.loss, update.samples)
        shares = self._client.begin_round(update.round, model_digest(update.shared), vector)
        return m.Protocol(round=update.round, payload=shares)
