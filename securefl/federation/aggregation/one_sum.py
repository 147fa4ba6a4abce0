"""A member's side of a session of a single sum of one input.

Queries and scores are such sums: each has a session of its own, whose keys serve nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from securefl.consortium.agreement.context import Consortium
from securefl.federation.aggregation.session_driver import RejectedSumError
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.errors import ChecksumFailed
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientSession, ClientState
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.results import RoundResult
from securefl_protocols.wire.context import SessionContext


class OneSum:
    """One session with one sum.

    Attributes:
        result: The sum, once it was shown and verified; None before.

    Args:
        consortium: The parties and their agreement; all of them are in the session.
        name: The member's name.
        identity: Its private Ed25519 key, 32 bytes.
        parameters: Plan and context, as this member computed them.
        number: Number of the round.
        digest: 32 bytes that identify what is summed.
        entropy: The source of the session's randomness.
        only: The survivors that the sum must have, where it repeats another; any where none.
    """

    def __init__(
        self,
        consortium: Consortium,
        name: str,
        identity: bytes | SigningKey,
        *,
        parameters: tuple[SessionPlan, SessionContext],
        number: int,
        digest: bytes,
        entropy: Entropy,
        only: Sequence[str] = (),
    ) -> None:
        plan, context = parameters
        self._client = ClientSession(
            plan=plan,
            roster=consortium.roster,
            index=consortium.roster.names.index(name),
            identity=SigningKey.of(identity),
            context=context,
            entropy=entropy,
        )
        self._number, self._digest = number, digest
        self._names = consortium.roster.names
        self._only = frozenset(map(self._names.index, only)) or None
        self.result: RoundResult | None = None

    def start(self) -> bytes:
        """Return the session's first message: the member's keys."""
        return self._client.start(self._number, self._digest)

    def receive(self, payload: bytes, value: Callable[[], RingVector]) -> bytes | None:
        """Answer one message; None if nothing is to be sent.

        Args:
            payload: The message.
            value: Returns this member's input. Called once at most, when all keys are there: what
                it charges and computes happens before any part of the input leaves.

        Raises:
            ProtocolError: If the message breaks the protocol; the session is over for good.
            RejectedSumError: If the sum fails its checksum; it is not repeated.
        """
        before = self._client.state
        try:
            answers = self._client.receive(payload)
        except ChecksumFailed:
            raise RejectedSumError("the sum fails its checksum") from None
        opening = before in (ClientState.ADVERTISED, ClientState.REVEALED)
        if opening and self._client.state is ClientState.READY:
            return self._client.begin_round(self._number, self._digest, value(), only=self._only)
        if not answers:  # a repeated message
            return None
        if isinstance(answers[0], RoundResult):
            self.result = answers[0]
            return None
        return answers[0]

    @property
    def masked(self) -> bool:
        """Whether the last answer was the masked input."""
        return self._client.state is ClientState.MASKED

    @property
    def signed(self) -> tuple[str, ...]:
        """The survivors for whose sum the last answer had shares; none after another answer."""
        if self._client.state is not ClientState.UNMASKED:
            return ()
        return tuple(self._names[index] for index in sorted(self._client.survivors))

    @property
    def survivors(self) -> tuple[str, ...]:
        """The members whose inputs are in the sum that was shown; none before."""
        if self.result is None:
            return ()
        return tuple(self._names[index] for index in self.result.survivors)
