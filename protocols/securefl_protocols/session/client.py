"""A member's side of a session: the coordinator's messages in, the member's messages out.

No I/O, no clock, no randomness of its own. Whatever the coordinator sends that the protocol
does not foresee in this very state ends the session for good, and nothing is sent any more.
"""

from collections.abc import Callable, Mapping, Set
from enum import Enum, auto
from typing import Any

from securefl_protocols.noise.layers import NoiseLayers
from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    LocalProtocolError,
    RemoteProtocolError,
)
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client_opening import ClientOpening
from securefl_protocols.session.client_round import ClientRound
from securefl_protocols.session.keystore import PeerKeyStore
from securefl_protocols.session.party import Party
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.recovery import recovery_for
from securefl_protocols.session.results import RoundResult
from securefl_protocols.wire.codec import decode_coordinator
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.messages import (
    CommittedKeyList,
    CoordinatorMessage,
    GraphDraw,
    KeyList,
    LayeredSum,
    LayeredSurvivors,
    ProvenSignatures,
    ProvenSum,
    RoundSum,
    Shares,
    Signatures,
    SurvivorSet,
)
from securefl_protocols.wire.roster import Roster


class ClientState(Enum):
    """Where a member stands; the names say what it did last."""

    NEW = auto()
    ADVERTISED = auto()
    REVEALED = auto()
    READY = auto()
    SHARED = auto()
    MASKED = auto()
    SIGNED = auto()
    UNMASKED = auto()
    ABORTED = auto()


TRANSITIONS: Mapping[tuple[ClientState, type[CoordinatorMessage]], ClientState] = {
    (ClientState.ADVERTISED, KeyList): ClientState.READY,
    (ClientState.ADVERTISED, CommittedKeyList): ClientState.REVEALED,
    (ClientState.REVEALED, GraphDraw): ClientState.READY,
    (ClientState.SHARED, Shares): ClientState.MASKED,
    (ClientState.MASKED, SurvivorSet): ClientState.SIGNED,
    (ClientState.SIGNED, Signatures): ClientState.UNMASKED,
    (ClientState.UNMASKED, RoundSum): ClientState.READY,
    (ClientState.MASKED, LayeredSurvivors): ClientState.SIGNED,
    (ClientState.UNMASKED, LayeredSum): ClientState.READY,
    (ClientState.SIGNED, ProvenSignatures): ClientState.UNMASKED,
    (ClientState.UNMASKED, ProvenSum): ClientState.READY,
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
        self._keystore = PeerKeyStore(index, entropy)
        party = Party(plan, roster, index, identity, entropy, threads)
        self._opening = ClientOpening(party, context, self._keystore)
        self._round: ClientRound | None = None
        self._last_round = -1
        self._rounds_left = plan.rounds
        self._heard: set[int] = set()
        self._reason: RemoteProtocolError | None = None

    def __repr__(self) -> str:
        return f"ClientSession(index={self._opening.party.index}, state={self.state.name})"

    @property
    def survivors(self) -> frozenset[int]:
        """The survivors that the member signed in the round under way; none before."""
        return frozenset() if self._round is None else self._round.survivors

    def start(self, number: int, model: bytes) -> bytes:
        """Return the AdvertiseKeys message, or CommittedKeys where a graph is drawn.

        Args:
            number: Number of the first round.
            model: 32 bytes, the digest of the model that the member holds for it.

        Raises:
            LocalProtocolError: The session was started before.
        """
        if self.state is not ClientState.NEW:
            raise LocalProtocolError("a session starts once")
        message = self._opening.advertise(number, model)
        self.state = ClientState.ADVERTISED
        return message

    def begin_round(
        self,
        number: int,
        model: bytes,
        vector: RingVector,
        layers: NoiseLayers | None = None,
        only: Set[int] | None = None,
    ) -> bytes:
        """Enter a round and return its ShareKeys message.

        Args:
            number: Number of the round, larger than that of every round before.
            model: 32 bytes, the digest of the model that the member holds for the round.
            vector: Shape [d] in the ring of the plan: the member's input. It is copied.
            layers: Of the noise in it, where the plan lets noise be taken back.
            only: For a round that repeats another with the same input: the survivors that were
                signed there (`ChecksumFailed.survivors`). A sum over others is refused, because
                two sums of the same inputs say what the inputs in only one of them are.

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
        opening = self._opening
        entered = ClientRound(
            opening.party,
            self._keystore,
            recovery_for(opening.party.plan.rounds),
            number=number,
            context=opening.context.of_round(number, model),
            cohort=opening.cohort,
            vector=vector,
            layers=layers,
            only=only,
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
            ChecksumFailed: The sum of the round is not the one that was signed. The round has
                ended without a sum, and another may begin.
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
        except ChecksumFailed:
            # The round is over for good, so one message is all that the coordinator can try.
            self.state, self._round = ClientState.READY, None
            self._heard.add(known_by)
            raise
        except RemoteProtocolError as reason:
            self._abort(reason)
            raise
        except LocalProtocolError as error:
            self._abort(RemoteProtocolError(f"the member stopped: {error}"))
            raise
        except Exception as error:
            # No check is known that lets such a message pass; were there one, the member must
            # not stand in a state that nobody thought of.
            unhandled = RemoteProtocolError(f"the message cannot be handled: {error!r}")
            self._abort(unhandled)
            raise unhandled from error
        self._heard.add(known_by)
        return answer

    def _advance(self, data: bytes) -> list[bytes | RoundResult]:
        plan = self._opening.party.plan
        message = decode_coordinator(data, largest=plan.largest_message)
        following = TRANSITIONS.get((self.state, type(message)))
        if following is None or not plan.speaks(type(message)):
            raise RemoteProtocolError(f"no {message.NAME} is expected in state {self.state.name}")
        if isinstance(message, KeyList | GraphDraw):
            answers = self._open(message)
            self.state = following
            return answers
        current = self._round
        if current is None or message.round != current.number:
            raise RemoteProtocolError("the message belongs to another round")
        answer = _HANDLERS[type(message)](current, message)
        self.state = following
        return [answer]

    def _open(self, message: KeyList | GraphDraw) -> list[bytes | RoundResult]:
        if isinstance(message, KeyList):
            return list(self._opening.on_keys(message))
        self._opening.on_draw(message)
        return []

    def _abort(self, reason: RemoteProtocolError) -> None:
        self.state = ClientState.ABORTED
        self._reason = reason
        self._round = None


_HANDLERS: Mapping[type[CoordinatorMessage], Callable[[ClientRound, Any], bytes | RoundResult]] = {
    Shares: ClientRound.on_shares,
    SurvivorSet: ClientRound.on_survivors,
    Signatures: ClientRound.on_signatures,
    RoundSum: ClientRound.on_sum,
    LayeredSurvivors: ClientRound.on_survivors,
    LayeredSum: ClientRound.on_sum,
    ProvenSignatures: ClientRound.on_signatures,
    ProvenSum: ClientRound.on_sum,
}
