"""A member's open session of masked sums: its opening, and what a restart needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.federation.aggregation.session_parameters import (
    SessionParams,
    session_params,
)
from securefl.ml.vectors import FloatVector, UpdateVector, model_digest
from securefl_protocols.noise.layers import NoiseLayers
from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.primitives.x25519 import EXCHANGE_KEY_BYTES
from securefl_protocols.session.client import ClientSession, ClientState


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
        model: Digest of the model that training started from, 32 bytes, as this member took it.
    """

    round: int
    shared: FloatVector
    change: UpdateVector
    loss: float
    samples: int
    layers: NoiseLayers | None = None
    model: bytes = b""

    def __post_init__(self) -> None:
        if not self.model:
            object.__setattr__(self, "model", model_digest(self.shared))


@dataclass(frozen=True)
class Opening:
    """The input of opening a session: enough to open the same one again after a restart.

    Attributes:
        cohort: Its members.
        terms: Its parameters.
        round: The first round.
        model: Digest of the model of that round.
        secret: The entropy that its keys are drawn from.
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


@dataclass(frozen=True)
class SessionMaker:
    """What a member opens sessions with.

    Attributes:
        name: The member's name.
        identity: Its identity key.
        consortium: The parties and their agreement.
        entropy: The source of all its randomness.
    """

    name: str
    identity: SigningKey
    consortium: Consortium
    entropy: Entropy

    def opening(self, cohort: tuple[str, ...], dimension: int, at: tuple[int, bytes]) -> Opening:
        """Return the opening of a session with fresh keys, at a round and its model's digest."""
        terms = session_params(self.consortium, cohort, dimension)
        return Opening(cohort, terms, *at, draw(self.entropy, 2 * EXCHANGE_KEY_BYTES))

    def opened(self, number: int, opening: Opening) -> OpenSession:
        """Return a session with the two keys from an opening's secret."""
        client = ClientSession(
            plan=opening.terms.plan,
            roster=self.consortium.part(opening.cohort),
            index=opening.cohort.index(self.name),
            identity=self.identity,
            context=opening.terms.context,
            entropy=_KeysFirst(opening.secret, self.entropy),
        )
        return OpenSession(number, opening, client, client.start(opening.round, opening.model))

    def restored(self, fields: Mapping[str, Any]) -> OpenSession:
        """Return the session of an `OpenSession.state`."""
        cohort = tuple(fields["cohort"])
        terms = session_params(self.consortium, cohort, fields["dimension"])
        opening = Opening(cohort, terms, fields["round"], fields["model"], fields["secret"])
        session = self.opened(fields["number"], opening)
        for message in fields["heard"]:
            session.client.receive(message)
        session.heard, session.rounds = list(fields["heard"]), list(fields["rounds"])
        # Used rounds are skipped: their pairwise masks must never cover a second vector.
        session.client.skip_to(max(session.rounds), len(session.rounds))
        return session


_NOTHING = TrainedUpdate(0, np.zeros(0, np.float32), np.zeros(0, np.float32), 0.0, 0)


@dataclass
class OpenSession:
    """An open session, and the update of its present round.

    Attributes:
        number: Its number at the coordinator.
        opening: What it was opened with.
        client: The state machine.
        first: Its first message, which has its keys.
        update: The update of the round.
        model: Digest of the model that the round was admitted with.
        rounds: The rounds that were entered.
        heard: The messages of the opening: all members' keys, and the draw of a sparse graph.
    """

    number: int
    opening: Opening
    client: ClientSession
    first: bytes
    update: TrainedUpdate = _NOTHING
    model: bytes = b""
    rounds: list[int] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    @property
    def keys(self) -> bytes:
        """A digest that identifies the keys of the session."""
        return sha256(self.first).digest()

    def begin_round(self, survivors: tuple[str, ...], key: bytes | None = None) -> bytes:
        """Enter the round of the update and return the message for it.

        Args:
            survivors: The members that the sum must be of, because shares for a sum of them have
                left before; none where any are allowed.
            key: 32 bytes, what the update is rounded with where that is at random; secret.

        Raises:
            ProtocolError: As `ClientSession.begin_round`.
        """
        update, terms = self.update, self.opening.terms
        vector = terms.encode(update.change, update.loss, update.samples, key)
        cohort = self.opening.cohort
        only = frozenset(map(cohort.index, survivors)) if survivors else None
        number, layers = update.round, update.layers
        message = self.client.begin_round(number, self.model, vector, layers, only)
        self.rounds.append(number)
        return message

    def state(self) -> dict[str, Any] | None:
        """Return what a restart between two rounds needs, secret; None where nothing is left."""
        if not self.rounds or self.client.state is ClientState.ABORTED:
            return None
        opening = self.opening
        return {
            "number": self.number,
            "cohort": opening.cohort,
            "dimension": opening.terms.dimension,
            "round": opening.round,
            "model": opening.model,
            "secret": opening.secret,
            "heard": self.heard,
            "rounds": self.rounds,
        }
