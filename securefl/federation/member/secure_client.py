"""A member's side of mode `secure`: its update enters a masked sum and is never sent alone.

What a coordinator may ask is decided here and not by the coordinator: which cohort, in which order,
from which model. An update is unmasked in one sum at most, because the difference of two sums that
differ in one member is that member's update.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgpack
import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.aggregation.session_parameters import (
    SessionParams,
    encode_update,
    rounding_key,
    session_params,
)
from securefl.federation.member.model_verifier import ModelVerifier
from securefl.ml.vectors import FloatVector, UpdateVector, model_digest
from securefl_protocols.noise.layers import NoiseLayers
from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.errors import ProtocolError
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.primitives.x25519 import EXCHANGE_KEY_BYTES
from securefl_protocols.session.client import ClientSession, ClientState
from securefl_protocols.session.results import RoundResult


class AbortedError(SecureflError):
    """The member saw a violation of the protocol, or cannot take part, and sends nothing."""

    wire_name: ClassVar[str] = "AbortedError"


@dataclass(frozen=True)
class TrainedUpdate:
    """The result of local training in a round.

    Attributes:
        round: Number of the round.
        shared: The model that training started from, float32 [d].
        change: The change of the shared parameters, float32 [d], or float64 [d] if it is noised.
        loss: Mean training loss.
        samples: Sample count, the weight.
        layers: Layers of the noise in the change, where excess noise may be removed.
    """

    round: int
    shared: FloatVector
    change: UpdateVector
    loss: float
    samples: int
    layers: NoiseLayers | None = None


@dataclass
class _Session:
    """An open session, and the update of its present round.

    Attributes:
        number: Its number at the coordinator.
        opening: Its parameters, and the round and the model that it was opened for.
        update: The update of the round.
        model: Digest of the model that the round was admitted with.
        rounds: The rounds that were entered.
        keys: The message with all members' keys; empty before it arrived.
    """

    number: int
    opening: _Opening
    client: ClientSession
    update: TrainedUpdate
    model: bytes
    rounds: list[int] = field(default_factory=list)
    keys: bytes = b""


@dataclass(frozen=True)
class _Opening:
    """The input of opening a session: enough to open the same one again after a restart.

    Attributes:
        cohort: Its members.
        terms: Its parameters.
        round: The first round.
        model: Digest of the model of that round.
        secret: The entropy that its keys were drawn from.
    """

    cohort: tuple[str, ...]
    terms: SessionParams
    round: int
    model: bytes
    secret: bytes = field(repr=False)


class _KeysFirst:
    """A source of entropy that begins with the bytes of a session's keys.

    A reopened session has the same keys in this way, while all later draws are fresh.
    """

    def __init__(self, secret: bytes, entropy: Entropy) -> None:
        self._secret, self._entropy = secret, entropy

    def __call__(self, length: int) -> bytes:
        if self._secret:
            drawn, self._secret = self._secret[:length], self._secret[length:]
            return drawn
        return self._entropy(length)


class MaskedMember:
    """A member's session of masked sums.

    Attributes:
        last_unmasked: The last round for whose sum our shares have left; 0 before the first.
        last_sum: The last round whose sum we verified, and the members whose updates are in it.
        earliest: No round before this one is entered: a member that lost its state may have entered
            them, and two sums of a round would disclose its update.
    """

    def __init__(
        self,
        name: str,
        identity: bytes,
        consortium: Consortium,
        entropy: Entropy = os.urandom,
    ) -> None:
        """Start without a session.

        Args:
            name: The member's name.
            identity: Its private identity key, 32 bytes.
            consortium: The parties and their agreement.
            entropy: The source of all its randomness.
        """
        self._name = name
        self._entropy = entropy
        self._identity = SigningKey(identity)
        self._consortium = consortium
        self._session: _Session | None = None
        self._follower = ModelVerifier(consortium.config.server)
        self.last_unmasked = 0
        self.last_sum: tuple[int, tuple[str, ...]] = (0, ())
        self.earliest = 0
        self._pinned: tuple[int, bytes] = (0, b"")

    def admit(self, request: m.TrainMasked) -> None:
        """Check a request before training for it.

        Raises:
            AbortedError: If the request is not what was agreed.
        """
        config, names = self._consortium.config, self._consortium.roster.names
        number = request.round
        if not 1 <= number <= config.rounds:
            raise AbortedError(f"round {number} is none of the {config.rounds} that were agreed")
        if request.cohort != agreed_cohort(config, names, number):
            raise AbortedError(f"this is not the cohort that was agreed for round {number}")
        # Two sums of one round would differ in the dropouts, and so disclose single updates.
        if number <= self.last_unmasked:
            raise AbortedError(f"the update of round {number} has entered a sum already")
        if number < self.earliest:
            raise AbortedError(f"this member may have been in round {number} and forgotten it")
        # Rounds only go forward: an earlier one could be asked again with another model.
        if number < self._pinned[0]:
            raise AbortedError(f"round {self._pinned[0]} has begun; round {number} is over")
        self._admit_model(number, m.unpack_vector(request.shared))

    def _admit_model(self, number: int, shared: FloatVector) -> None:
        """Admit one model a round: the one that follows from the last sum, where that is known.

        A coordinator that could choose models could send one member a model that makes its update
        stand out in the sum (model inconsistency, Pasquini et al. 2021).
        """
        digest = model_digest(shared)
        if number == self._pinned[0] and digest != self._pinned[1]:
            raise AbortedError(f"another model was sent for round {number} before")
        if self._follower.waiting:
            raise AbortedError(f"the sum of round {self.last_unmasked} was not shown")
        if not self._follower.is_expected(number - 1, shared):
            raise AbortedError(f"the model of round {number} does not follow from the last sum")
        self._pinned = (number, digest)

    def enter(self, request: m.TrainMasked, update: TrainedUpdate) -> m.Message:
        """Enter the trained update into the round, which was admitted before.

        Raises:
            AbortedError: If the session is not what was agreed, or update or sample count are out
                of range.
        """
        if update.samples < self._consortium.config.secure.min_samples:
            raise AbortedError("this member has fewer samples than were agreed")
        try:
            if self._session is None or request.session != self._session.number:
                return self._open(request, update)
            self._session.update, self._session.model = update, self._pinned[1]
            return self._begin(self._session)
        except (ProtocolError, ValueError) as error:
            self._session = None
            raise AbortedError(str(error)) from None

    def receive(self, message: m.Protocol) -> m.Message:
        """Answer one message of the session.

        Raises:
            AbortedError: If the message breaks the protocol; the session is over for good.
        """
        session = self._session
        if session is None or message.round != session.update.round:
            self._session = None
            raise AbortedError("the message belongs to no round of this member")
        try:
            return self._answer(session, message.payload)
        except ProtocolError as error:
            self._session = None
            raise AbortedError(str(error)) from None

    def _answer(self, session: _Session, payload: bytes) -> m.Message:
        before = session.client.state
        answers = session.client.receive(payload)
        opening = before in (ClientState.ADVERTISED, ClientState.REVEALED)
        if opening and session.client.state is ClientState.READY:
            session.keys = payload
            return self._begin(session)
        if not answers:  # a repeated message
            return m.Done()
        answer = answers[0]
        if isinstance(answer, RoundResult):
            self._follow(session, answer)
            return m.Done()
        # From here on the update can be in a sum, whether or not the answer arrives.
        if session.client.state is ClientState.UNMASKED:
            self.last_unmasked = session.update.round
            self._follower.wait()
        return m.Protocol(round=session.update.round, payload=answer)

    def _follow(self, session: _Session, result: RoundResult) -> None:
        opening = session.opening
        survivors = tuple(opening.cohort[index] for index in result.survivors)
        self.last_sum = (session.update.round, survivors)
        decoded = opening.terms.decode(result.total, result.opened)
        self._follower.follow(session.update.round, session.update.shared, decoded.mean)

    def _open(self, request: m.TrainMasked, update: TrainedUpdate) -> m.Protocol:
        terms = session_params(self._consortium, request.cohort, update.shared.shape[0])
        secret = draw(self._entropy, 2 * EXCHANGE_KEY_BYTES)
        opening = _Opening(request.cohort, terms, update.round, self._pinned[1], secret)
        client, keys = self._client(opening)
        self._session = _Session(request.session, opening, client, update, opening.model)
        return m.Protocol(round=update.round, payload=keys)

    def _client(self, opening: _Opening) -> tuple[ClientSession, bytes]:
        """Return the session with its two keys from the opening's secret, and its first message."""
        client = ClientSession(
            plan=opening.terms.plan,
            roster=self._consortium.part(opening.cohort),
            index=opening.cohort.index(self._name),
            identity=self._identity,
            context=opening.terms.context,
            entropy=_KeysFirst(opening.secret, self._entropy),
        )
        return client, client.start(opening.round, opening.model)

    def _begin(self, session: _Session) -> m.Protocol:
        update, encoding = session.update, session.opening.terms.encoding
        key = self.rounding_key(update) if encoding.at_random else None
        vector = encode_update(encoding, update.change, update.loss, update.samples, key)
        shares = session.client.begin_round(update.round, session.model, vector, update.layers)
        session.rounds.append(update.round)
        return m.Protocol(round=update.round, payload=shares)

    def rounding_key(self, update: TrainedUpdate) -> bytes:
        """Return the key that an update is rounded with where that is at random; secret."""
        secret = self._identity.private_bytes()
        return rounding_key(secret, self._consortium.run_id, update.round, update.shared)

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as it travels; None if unknown."""
        return self._follower.following()

    def state(self) -> bytes:
        """Return what a member that is restarted between two rounds needs; secret.

        Later rounds of an open session use its keys, so they are part of it.
        """
        fields = {
            "last_unmasked": self.last_unmasked,
            "earliest": self.earliest,
            "pinned": self._pinned,
            "follower": self._follower.state(),
            "session": self._session_state(),
        }
        packed: bytes = msgpack.packb(fields)
        return packed

    def _session_state(self) -> dict[str, Any] | None:
        session = self._session
        if session is None or not session.rounds or session.client.state is ClientState.ABORTED:
            return None
        opening = session.opening
        return {
            "number": session.number,
            "cohort": opening.cohort,
            "dimension": opening.terms.dimension,
            "round": opening.round,
            "model": opening.model,
            "secret": opening.secret,
            "keys": session.keys,
            "rounds": session.rounds,
        }

    def restore(self, state: bytes) -> None:
        """Take up a `state` in a member that has answered nothing yet."""
        fields = msgpack.unpackb(state)
        self.last_unmasked, self.earliest = fields["last_unmasked"], fields["earliest"]
        self._pinned = (fields["pinned"][0], fields["pinned"][1])
        self._follower.restore(fields["follower"])
        if fields["session"] is not None:
            self._session = self._restored(fields["session"])

    def _restored(self, fields: dict[str, Any]) -> _Session:
        cohort = tuple(fields["cohort"])
        terms = session_params(self._consortium, cohort, fields["dimension"])
        opening = _Opening(cohort, terms, fields["round"], fields["model"], fields["secret"])
        client, _ = self._client(opening)
        client.receive(fields["keys"])
        # Used rounds are skipped: their pairwise masks must never cover a second vector.
        client.skip_to(max(fields["rounds"]), len(fields["rounds"]))
        empty = np.zeros(0, dtype=np.float32)
        nothing = TrainedUpdate(0, empty, empty, 0.0, 0)
        return _Session(
            fields["number"], opening, client, nothing, b"", fields["rounds"], fields["keys"]
        )

    def ended_with(self, number: int) -> bytes | None:
        """Return the digest of the model that a round's verified sum leads to; None if unknown."""
        return self._follower.derived(number)
