"""A member's side of a session: the coordinator's messages in, the member's messages out.

No I/O, no clock, no randomness of its own. Whatever the coordinator sends that the protocol
does not foresee in this very state ends the session for good, and nothing is sent any more.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from hashlib import sha256
from typing import Any

from securefl_protocols.noise.layers import NoiseLayers
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client_round import ClientRound, Party
from securefl_protocols.session.keystore import PeerKeyStore
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.recovery import recovery_for
from securefl_protocols.session.results import RoundResult
from securefl_protocols.wire.codec import decode_coordinator, encode_body
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    CoordinatorMessage,
    KeyList,
    LayeredSum,
    LayeredSurvivors,
    RoundSum,
    Shares,
    Signatures,
    SurvivorSet,
)
from securefl_protocols.wire.roster import Roster, members_from_bits
from securefl_protocols.wire.signed_statements import check_signature, signed_message


class ClientState(Enum):
    """Where a member stands; the names say what it did last."""

    NEW = auto()
    ADVERTISED = auto()
    READY = auto()
    SHARED = auto()
    MASKED = auto()
    SIGNED = auto()
    UNMASKED = auto()
    ABORTED = auto()


TRANSITIONS: Mapping[tuple[ClientState, type[CoordinatorMessage]], ClientState] = {
    (ClientState.ADVERTISED, KeyList): ClientState.READY,
    (ClientState.SHARED, Shares): ClientState.MASKED,
    (ClientState.MASKED, SurvivorSet): ClientState.SIGNED,
    (ClientState.SIGNED, Signatures): ClientState.UNMASKED,
    (ClientState.UNMASKED, RoundSum): ClientState.READY,
    (ClientState.MASKED, LayeredSurvivors): ClientState.SIGNED,
    (ClientState.UNMASKED, LayeredSum): ClientState.READY,
}
"""Every message that a state allows; `start` and `begin_round` are the other two moves."""

MAY_BEGIN = frozenset(
    (
        ClientState.READY,
        ClientState.SHARED,
        ClientState.MASKED,
        ClientState.SIGNED,
        ClientState.UNMASKED,
    )
)
"""Where a round can begin: also in the middle of one that the others ended without us."""


class ClientSession:
    """One member in one session of one or more rounds.

    Attributes:
        state: Where the member stands.
    """

    def __init__(
        self,
        *,
        plan: SessionPlan,
        roster: Roster,
        index: int,
        identity: SigningKey,
        context: SessionContext,
        entropy: Entropy,
        threads: int = 1,
    ) -> None:
        """Draw the keys of the session; nothing is sent yet.

        Args:
            plan: The plan as the consortium agreed on it, not as the coordinator says.
            roster: The pinned roster.
            index: Where the member stands in the roster.
            identity: The member's Ed25519 key.
            context: Consortium, run and plan as the member knows them.
            entropy: Source of randomness; `os.urandom` in production.
            threads: How many threads expand masks.

        Raises:
            LocalProtocolError: The arguments do not belong together.
        """
        if len(roster) != plan.members or not 0 <= index < plan.members:
            raise LocalProtocolError("the roster is not the one that the plan was made for")
        if roster.identities[index] != identity.public:
            raise LocalProtocolError("the identity key is not the one in the roster")
        if context.plan != plan.digest():
            raise LocalProtocolError("the context is that of another plan")
        self.state = ClientState.NEW
        self._party = Party(plan, roster, index, identity, entropy, threads)
        self._context = context
        self._opening = b""
        self._keystore = PeerKeyStore(index, entropy)
        self._cohort: frozenset[int] = frozenset()
        self._round: ClientRound | None = None
        self._last_round = -1
        self._rounds_left = plan.rounds
        self._heard: set[int] = set()
        self._reason: RemoteProtocolError | None = None

    def __repr__(self) -> str:
        return f"ClientSession(index={self._party.index}, state={self.state.name})"

    def start(self, number: int, model: bytes) -> bytes:
        """Return the AdvertiseKeys message.

        Args:
            number: Number of the first round.
            model: 32 bytes, the digest of the model that the member holds for it.

        Raises:
            LocalProtocolError: The session was started before.
        """
        if self.state is not ClientState.NEW:
            raise LocalProtocolError("a session starts once")
        self._opening = self._context.of_round(number, model)
        self.state = ClientState.ADVERTISED
        return signed_message(
            AdvertiseKeys(self._keystore.encryption.public, self._keystore.masking.public),
            context=self._opening,
            sender=self._party.index,
            session_key=self._keystore.encryption.public,
            identity=self._party.identity,
        )

    def begin_round(
        self, number: int, model: bytes, vector: RingVector, layers: NoiseLayers | None = None
    ) -> bytes:
        """Enter a round and returns its ShareKeys message.

        Args:
            number: Number of the round, larger than that of every round before.
            model: 32 bytes, the digest of the model that the member holds for the round.
            vector: Shape [d] in the ring of the plan: the member's input. It is copied.
            layers: Of the noise in it, where the plan lets noise be taken back.

        Raises:
            LocalProtocolError: There are no keys yet, no rounds left, the number was used, or
                vector or layers do not fit the plan.
            RangeError: A coordinate is larger than agreed.
        """
        if self.state not in MAY_BEGIN:
            raise LocalProtocolError(f"no round begins in state {self.state.name}")
        if number <= self._last_round:
            raise LocalProtocolError("a round has a larger number than those before")
        if not self._rounds_left:
            raise LocalProtocolError("the session has no rounds left; start another")
        entered = ClientRound(
            self._party,
            self._keystore,
            recovery_for(self._party.plan.rounds),
            number=number,
            context=self._context.of_round(number, model),
            cohort=self._cohort,
            vector=vector,
            layers=layers,
        )
        self._round, self._last_round = entered, number
        self._rounds_left -= 1
        self.state = ClientState.SHARED
        return entered.share()

    def skip_to(self, number: int, rounds: int) -> None:
        """Go on after rounds that this member was in before it was restarted.

        The caller has built the session anew from the same entropy and brought it to READY.

        Args:
            number: The last round that was entered.
            rounds: How many were entered.

        Raises:
            LocalProtocolError: A round was entered since, or there are not so many.
        """
        if self.state is not ClientState.READY or self._round is not None:
            raise LocalProtocolError("rounds are skipped before the first is entered")
        if not 0 <= rounds <= self._rounds_left:
            raise LocalProtocolError("the session does not have so many rounds")
        self._last_round = number
        self._rounds_left -= rounds

    def receive(self, data: bytes) -> list[bytes | RoundResult]:
        """Take one message of the coordinator.

        Args:
            data: What arrived. The same bytes a second time are ignored.

        Returns:
            Messages to send, and at the end of a round its result.

        Raises:
            RemoteProtocolError: The message breaks the protocol. The session has ended, and
                every later message meets the same error.
        """
        if self._reason is not None:
            raise RemoteProtocolError(str(self._reason), self._reason.peer)
        # Two messages that are taken for one by chance are one message less, and nobody needs
        # chance to hold a message back; so the fastest hash will do.
        known_by = hash(data)
        if known_by in self._heard:
            return []
        try:
            answer = self._advance(data)
        except RemoteProtocolError as reason:
            self._abort(reason)
            raise
        self._heard.add(known_by)
        return answer

    def _advance(self, data: bytes) -> list[bytes | RoundResult]:
        message = decode_coordinator(data, largest=self._party.plan.largest_message)
        following = TRANSITIONS.get((self.state, type(message)))
        if following is None or not self._party.plan.speaks(type(message)):
            raise RemoteProtocolError(f"no {message.NAME} is expected in state {self.state.name}")
        if isinstance(message, KeyList):
            self._pin_keys(message)
            self.state = following
            return []
        current = self._round
        if current is None or message.round != current.number:
            raise RemoteProtocolError("the message belongs to another round")
        answer = _HANDLERS[type(message)](current, message)
        self.state = following
        return [answer]

    def _abort(self, reason: RemoteProtocolError) -> None:
        self.state = ClientState.ABORTED
        self._reason = reason
        self._round = None

    def _pin_keys(self, message: KeyList) -> None:
        """Check who takes part and agrees with every neighbour that does."""
        plan, index = self._party.plan, self._party.index
        cohort = members_from_bits(message.cohort, plan.members)
        if index not in cohort:
            raise RemoteProtocolError("we are not in the cohort")
        if len(cohort) < plan.min_members:
            raise RemoteProtocolError("the cohort is smaller than the plan allows")
        holders = plan.holders(index).keys()
        if message.keys.keys() != (holders | {index}) & cohort:
            raise RemoteProtocolError("the keys are not those of our neighbours in the cohort")
        if len(holders & cohort) < plan.threshold:
            raise RemoteProtocolError("fewer neighbours advertise keys than the threshold")
        entries = {member: _split_entry(row) for member, row in message.keys.items()}
        if entries[index][:2] != (self._keystore.encryption.public, self._keystore.masking.public):
            raise RemoteProtocolError("our own keys were changed")
        for member, (encryption, masking, signature) in entries.items():
            self._check_entry(member, encryption, masking, signature)
        keys = [key for entry in entries.values() for key in entry[:2]]
        if len(set(keys)) != len(keys):
            raise RemoteProtocolError("two advertised keys are the same")
        for member, (encryption, masking, _) in entries.items():
            if member != index:
                self._keystore.agree(member, encryption, masking)
        self._cohort = cohort

    def _check_entry(self, member: int, encryption: bytes, masking: bytes, signed: bytes) -> None:
        check_signature(
            AdvertiseKeys,
            signed,
            sha256(encode_body(AdvertiseKeys(encryption, masking))).digest(),
            context=self._opening,
            sender=member,
            session_key=encryption,
            identity=self._party.roster.identities[member],
        )


def _split_entry(row: bytes) -> tuple[bytes, bytes, bytes]:
    return row[:32], row[32:64], row[64:]


_HANDLERS: Mapping[type[CoordinatorMessage], Callable[[ClientRound, Any], bytes | RoundResult]] = {
    Shares: ClientRound.on_shares,
    SurvivorSet: ClientRound.on_survivors,
    Signatures: ClientRound.on_signatures,
    RoundSum: ClientRound.on_sum,
    LayeredSurvivors: ClientRound.on_survivors,
    LayeredSum: ClientRound.on_sum,
}
