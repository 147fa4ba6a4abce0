"""A member's side of mode `secure`: its update enters a masked sum and is never sent alone.

What a coordinator may ask is decided here and not by the coordinator: which cohort, in which order,
from which model. An update is unmasked in one sum at most, because the difference of two sums that
differ in one member is that member's update.
"""

from __future__ import annotations

import hmac
import os
import struct
from hashlib import sha256
from typing import ClassVar

import msgpack
import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.round_records import RoundRecords, StaleStateError
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.aggregation.session_driver import RejectedSumError, culprit
from securefl.federation.aggregation.session_parameters import rounding_key
from securefl.federation.member.model_verifier import ModelVerifier, Start
from securefl.federation.member.open_session import OpenSession, SessionMaker, TrainedUpdate
from securefl.federation.member.sum_watch import SumWatch
from securefl.ml.vectors import FloatVector
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.errors import ChecksumFailed, ProtocolError
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientState
from securefl_protocols.session.results import RoundResult


class AbortedError(SecureflError):
    """The member saw a violation of the protocol, or cannot take part, and sends nothing.

    Attributes:
        blames: The member whose doing it is; empty where that does not show.
    """

    wire_name: ClassVar[str] = "AbortedError"

    def __init__(self, text: str, blames: str = "") -> None:
        super().__init__(f"{blames}: {text}" if blames else text)
        self.blames = blames


class MaskedMember:
    """A member's session of masked sums.

    Attributes:
        verifier: The shared model, as it follows from what this member verified.
        last_unmasked: The last round for whose sum our shares have left; 0 before the first.
        earliest: No round before this one is entered: a member that lost its state may have entered
            them, and two sums of a round would disclose its update.
        watch: Looks at each sum that was verified; None looks at none.
    """

    def __init__(
        self,
        name: str,
        identity: bytes | SigningKey,
        consortium: Consortium,
        records: RoundRecords,
        entropy: Entropy = os.urandom,
        *,
        start: Start,
    ) -> None:
        """Start without a session.

        Args:
            name: The member's name.
            identity: Its identity key, or the 32 bytes of it.
            consortium: The parties and their agreement.
            records: The rounds that it entered, in its ledger.
            entropy: The source of all its randomness.
            start: Returns the digest of the agreed start.
        """
        self._identity = SigningKey.of(identity)
        self._maker = SessionMaker(name, self._identity, consortium, entropy)
        self._consortium = consortium
        self._records = records
        self._session: OpenSession | None = None
        self.verifier = ModelVerifier(consortium, start)
        self.last_unmasked = 0
        self.earliest = 0
        self.watch: SumWatch | None = None
        self._pinned: tuple[int, bytes] = (0, b"")
        self._summed: tuple[int, int, int] = (0, 0, 0)  # round, total weight, members

    def admit(self, request: m.TrainMasked) -> bytes:
        """Check a request before training for it, and return the digest of its model.

        Raises:
            AbortedError: If the request is not what was agreed.
            UnverifiedModelError, MessageError: As `ModelVerifier.begin`.
        """
        config, names = self._consortium.config, self._consortium.roster.names
        number = request.round
        if not 1 <= number <= config.rounds:
            raise AbortedError(f"round {number} is none of the {config.rounds} that were agreed")
        if request.cohort != agreed_cohort(config, names, number):
            raise AbortedError(f"this is not the cohort that was agreed for round {number}")
        self._admit_repeat(number)
        if number < self.earliest:
            raise AbortedError(f"this member may have been in round {number} and forgotten it")
        # Rounds only go forward: an earlier one could be asked again with another model.
        if number < self._pinned[0]:
            raise AbortedError(f"round {self._pinned[0]} has begun; round {number} is over")
        return self._admit_model(request, m.unpack_vector(request.shared))

    def _admit_repeat(self, number: int) -> None:
        """Admit a round again as often as agreed; its sum is then of the same survivors.

        The ledger is asked before every entry, because it outlives this object's memory.
        """
        if number < max(self.last_unmasked, self._records.newest()):
            raise AbortedError(f"the update of round {number} has entered a sum already")
        repeats = self._consortium.config.secure.repeats
        if self._records.unmasked(number).times > repeats:
            raise AbortedError(
                f"round {number} was repeated {repeats} times as agreed, and has no sum"
            )

    def _admit_model(self, request: m.TrainMasked, shared: FloatVector) -> bytes:
        """Admit one model a round: the agreed start, or the one that follows from the last sum.

        A coordinator that could choose models could send one member a model that makes its update
        stand out in the sum (model inconsistency, Pasquini et al. 2021).
        """
        number, digest = request.round, self.verifier.digest_of(shared)
        if number == self._pinned[0] and digest != self._pinned[1]:
            raise AbortedError(f"another model was sent for round {number} before")
        self.verifier.begin(number, shared, request.proof, request.moments, digest)
        self._pinned = (number, digest)
        return digest

    def enter(self, request: m.TrainMasked, update: TrainedUpdate) -> m.Message:
        """Enter the trained update into the round, which was admitted before.

        Raises:
            AbortedError: If the session is not what was agreed, or update or sample count are out
                of range.
        """
        if update.samples < self._consortium.config.secure.min_samples:
            raise AbortedError("this member has fewer samples than were agreed")
        try:
            session = self._session
            if session is None or request.session != session.number:
                return self._open(request, update)
            session.update, session.model = update, self._pinned[1]
            return self._begin(session)
        except (ProtocolError, ValueError) as error:
            self._session = None
            raise AbortedError(str(error)) from None

    def receive(self, message: m.Protocol) -> m.Message:
        """Answer one message of the session.

        Raises:
            AbortedError: If the message breaks the protocol; the session is over for good.
            RejectedSumError: If the sum fails its checksum; the round may be repeated.
        """
        session = self._session
        if session is None or message.round != session.update.round:
            self._session = None
            raise AbortedError("the message belongs to no round of this member")
        try:
            return self._answer(session, message.payload)
        except ChecksumFailed:
            raise RejectedSumError(f"the sum of round {message.round} fails its checksum") from None
        except ProtocolError as error:
            self._session = None
            raise AbortedError(str(error), culprit(error, session.opening.cohort)) from None

    def _answer(self, session: OpenSession, payload: bytes) -> m.Message:
        before = session.client.state
        answers = session.client.receive(payload)
        if before in (ClientState.ADVERTISED, ClientState.REVEALED):
            if session.client.state is not before:
                session.heard.append(payload)
            if session.client.state is ClientState.READY:
                return self._begin(session)
        if not answers:  # a repeated message
            return m.Done()
        answer = answers[0]
        if isinstance(answer, RoundResult):
            return self._followed(session, answer)
        if session.client.state is ClientState.UNMASKED:
            self._note_unmasking(session)
        return m.Protocol(round=session.update.round, payload=answer)

    def _note_unmasking(self, session: OpenSession) -> None:
        """Note durably that from here on the update can be in a sum, whatever arrives of it."""
        number, cohort = session.update.round, session.opening.cohort
        survivors = tuple(cohort[index] for index in sorted(session.client.survivors))
        self._records.unmask(number, session.keys, survivors)
        self.last_unmasked = number

    def _followed(self, session: OpenSession, result: RoundResult) -> m.SumVerified:
        """Compute the next model from a verified sum, and sign the end of the round."""
        opening, update = session.opening, session.update
        survivors = tuple(opening.cohort[index] for index in result.survivors)
        try:
            decoded = opening.terms.decode(result.total, result.opened)
        except ProtocolError as error:
            # Some survivor's weight is none: like a wrong checksum, it must not end the run.
            raise RejectedSumError(f"the sum of round {update.round} is no mean: {error}") from None
        self._summed = update.round, decoded.total_weight, len(survivors)
        end = self.verifier.follow(survivors, update, decoded.mean)
        if self.watch is not None:
            self.watch.note(update.round, decoded.mean, decoded.total_weight)
        return m.SumVerified(
            round=update.round, signature=end.signed(self._consortium, self._identity)
        )

    def _open(self, request: m.TrainMasked, update: TrainedUpdate) -> m.Protocol:
        at = update.round, self._pinned[1]
        opening = self._maker.opening(request.cohort, update.shared.shape[0], at)
        session = self._session = self._maker.opened(request.session, opening)
        session.update, session.model = update, opening.model
        return m.Protocol(round=update.round, payload=session.first)

    def _begin(self, session: OpenSession) -> m.Protocol:
        update, number = session.update, session.update.round
        key = self.rounding_key(update) if session.opening.terms.encoding.at_random else None
        try:
            # Before it is masked: in all sums of a round, whatever happens, is the same input.
            self._records.bind_input(number, self._input_digest(update))
            message = session.begin_round(self._records.unmasked(number).survivors, key)
            self._records.enter(number, session.keys, sha256(message).digest())
        except StaleStateError:
            self._session = None
            raise
        return m.Protocol(round=number, payload=message)

    def _input_digest(self, update: TrainedUpdate) -> bytes:
        """Return a keyed digest of all that an update adds to a sum, 32 bytes."""
        anchor = update.layers.anchor if update.layers else b""
        scalars = struct.pack("<dq", update.loss, update.samples)
        content = scalars + sha256(np.ascontiguousarray(update.change).data).digest() + anchor
        return hmac.digest(self.rounding_key(update), content, "sha256")

    def rounding_key(self, update: TrainedUpdate) -> bytes:
        """Return the key that an update is rounded with where that is at random; secret."""
        secret = self._identity.secret()
        return rounding_key(secret, self._consortium.run_id, update.round, update.model)

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as it travels; None if unknown."""
        return self.verifier.following()

    def summed(self, number: int) -> tuple[int, int] | None:
        """Return total weight and members of a round's sum, if it is the last one verified."""
        return self._summed[1:] if self._summed[0] == number else None

    def state(self) -> bytes:
        """Return what a member that is restarted between two rounds needs; secret.

        Later rounds of an open session use its keys, so they are part of it.
        """
        fields = {
            "last_unmasked": self.last_unmasked,
            "earliest": self.earliest,
            "pinned": self._pinned,
            "summed": self._summed,
            "verifier": self.verifier.state(),
            "session": None if self._session is None else self._session.state(),
        }
        packed: bytes = msgpack.packb(fields)
        return packed

    def restore(self, state: bytes) -> None:
        """Take up a `state` in a member that has answered nothing yet."""
        fields = msgpack.unpackb(state)
        self.last_unmasked, self.earliest = fields["last_unmasked"], fields["earliest"]
        self._pinned = (fields["pinned"][0], fields["pinned"][1])
        number, weight, members = fields.get("summed", self._summed)
        self._summed = number, weight, members
        self.verifier.restore(fields["verifier"])
        if fields["session"] is not None:
            self._session = self._maker.restored(fields["session"])
