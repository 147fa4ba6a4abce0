"""The coordinator's side of a session: members' messages in, the next step's messages out.

The caller decides when a step ends: when everybody has answered, or at its deadline. Members
that break the protocol are dropped with a reason, and the session goes on with the others.
"""

from collections.abc import Set
from hashlib import sha256

from securefl_protocols.primitives.errors import (
    DisputedPair,
    LocalProtocolError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.primitives.x25519 import check_public_key
from securefl_protocols.session.dropouts import (
    COLLECTED_IN,
    Dropout,
    DropoutReason,
    Refused,
    ServerStep,
)
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.quorum import check_cohort, check_recoverable
from securefl_protocols.session.recovery import recovery_for
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server_round import ServerRound
from securefl_protocols.wire.codec import (
    Envelope,
    decode_body,
    encode_coordinator,
    open_envelope,
    signature_of,
)
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    Consistency,
    KeyList,
    LayeredSum,
    MaskedInput,
    MemberMessage,
    RoundSum,
    ShareKeys,
)
from securefl_protocols.wire.roster import Roster, members_to_bits
from securefl_protocols.wire.signed_statements import check_signature
from securefl_protocols.wire.transcript import Transcript


class ServerSession:
    """The coordinator in one session of one or more rounds. It has no secrets of its own.

    Attributes:
        step: What is being collected.
        drops: Who was left out of which step, and why, in the order in which it happened.
    """

    def __init__(
        self,
        *,
        plan: SessionPlan,
        roster: Roster,
        context: SessionContext,
        number: int,
        model: bytes,
        threads: int = 1,
    ) -> None:
        """Opens a session; the members advertise keys first.

        Args:
            plan: The plan that the members agreed on.
            roster: Their names and identity keys.
            context: Consortium, run and plan.
            number: Number of the first round.
            model: 32 bytes, the digest of the model that goes out for it.
            threads: How many threads expand masks.

        Raises:
            LocalProtocolError: The arguments do not belong together.
        """
        if len(roster) != plan.members:
            raise LocalProtocolError("the roster is not the one that the plan was made for")
        if context.plan != plan.digest():
            raise LocalProtocolError("the context is that of another plan")
        self.step = ServerStep.ADVERTISE
        self.dropouts: list[Dropout] = []
        self._plan, self._roster, self._context, self._threads = plan, roster, context, threads
        self._opening = (number, model)
        self._bound_to = context.of_round(number, model)
        self._keys: dict[int, AdvertiseKeys] = {}
        self._known_keys: set[bytes] = set()
        self._round: ServerRound | None = None
        self._rounds_left = plan.rounds
        self._expected = frozenset(range(plan.members))
        self._banned: dict[int, Dropout] = {}
        self._taken: dict[ServerStep, dict[int, bytes]] = {ServerStep.ADVERTISE: {}}
        self._model = model
        self._result: RoundResult | None = None

    def begin_round(self, number: int, model: bytes) -> None:
        """Enters a round; the members share keys first.

        Args:
            number: Number of the round, larger than that of every round before.
            model: 32 bytes, the digest of the model that goes out for the round.

        Raises:
            LocalProtocolError: A step is under way, no rounds are left, or the number was used.
        """
        if self.step is not ServerStep.IDLE:
            raise LocalProtocolError(f"no round begins in step {self.step.name}")
        if self._round is not None and number <= self._round.number:
            raise LocalProtocolError("a round has a larger number than those before")
        context = self._context.of_round(number, model)
        recovery = recovery_for(self._plan.rounds)
        self._round = ServerRound(self._plan, recovery, self._keys, number=number, context=context)
        self._bound_to, self._model, self._result = context, model, None
        self._rounds_left -= 1
        self._taken = {ServerStep.ADVERTISE: self._taken[ServerStep.ADVERTISE]}
        self._enter(ServerStep.SHARE, self._keys.keys())

    def advertised(self) -> dict[int, bytes]:
        """Returns the AdvertiseKeys messages of those who are in the session and not out of it."""
        taken = self._taken[ServerStep.ADVERTISE]
        return {member: data for member, data in taken.items() if member in self._keys}

    @property
    def banned(self) -> frozenset[int]:
        """Who is out of the session for good."""
        return frozenset(self._banned)

    @property
    def rounds_left(self) -> int:
        """How many rounds can still begin."""
        return self._rounds_left

    def skip_to(self, banned: Set[int], rounds_left: int) -> None:
        """Goes on after rounds that this session served before the coordinator was restarted.

        The caller has built the session anew from the same advertised keys.

        Args:
            banned: Who was out of the session.
            rounds_left: How many rounds could still begin.

        Raises:
            LocalProtocolError: A round has begun since, or there were never so many left.
        """
        if self.step is not ServerStep.IDLE or self._round is not None:
            raise LocalProtocolError("rounds are skipped before the first begins")
        if not 0 <= rounds_left <= self._rounds_left:
            raise LocalProtocolError("the session does not have so many rounds left")
        for member in sorted(banned):
            self._drop(member, DropoutReason.MALFORMED, "out of the session before the restart")
        self._rounds_left = rounds_left

    def waiting_for(self) -> frozenset[int]:
        """Returns the members whose message of this step is still missing."""
        return self._expected - self._taken.get(self.step, {}).keys()

    def receive(self, sender: int, data: bytes) -> Dropout | None:
        """Takes one message of a member.

        Args:
            sender: Index of the member that the transport says it came from.
            data: What arrived. The same bytes a second time are ignored.

        Returns:
            None where the message was taken, else why the member was dropped.

        Raises:
            LocalProtocolError: There is no such member.
        """
        if not 0 <= sender < self._plan.members:
            raise LocalProtocolError("the sender is not in the roster")
        if sender in self._banned:
            return self._banned[sender]
        if any(taken.get(sender) == data for taken in self._taken.values()):
            return None
        try:
            self._take(sender, data)
        except Refused as refused:
            return self._drop(sender, refused.reason, str(refused))
        except RemoteProtocolError as malformed:
            return self._drop(sender, DropoutReason.MALFORMED, str(malformed))
        return None

    def _take(self, sender: int, data: bytes) -> None:
        envelope = open_envelope(data, largest=self._plan.largest_message)
        if envelope.sender != sender:
            raise Refused(DropoutReason.MALFORMED, "the message names another sender")
        message = decode_body(envelope.kind, envelope.body)
        if not self._plan.speaks(type(message)):
            raise Refused(DropoutReason.MALFORMED, "a message of a session with another plan")
        self._check_step(sender, message)
        digest = sha256(envelope.body).digest()
        self._check_signature(envelope, message, digest)
        self._accept(envelope, message, digest)
        self._taken[self.step][sender] = data

    def _check_step(self, sender: int, message: MemberMessage) -> None:
        """Refuses what comes too late, too early, twice or from somebody left behind."""
        belongs = COLLECTED_IN[type(message)]
        position, here = (0, belongs), (self._round.number if self._round else 0, self.step)
        if not isinstance(message, AdvertiseKeys):
            position = (message.round, belongs)
        elif self.step is not ServerStep.ADVERTISE:
            raise Refused(DropoutReason.LATE, "keys are advertised once, at the start")
        if position > here:
            raise Refused(DropoutReason.OUT_OF_STEP, f"{belongs.name} has not begun")
        if position < here:
            raise Refused(DropoutReason.LATE, f"{belongs.name} has ended")
        if sender in self._taken[self.step]:
            raise Refused(DropoutReason.EQUIVOCATION, f"two different messages in {belongs.name}")
        if sender not in self._expected:
            raise Refused(DropoutReason.LATE, f"{belongs.name} goes on without the member")

    def _check_signature(self, envelope: Envelope, message: MemberMessage, digest: bytes) -> None:
        keys = message if isinstance(message, AdvertiseKeys) else self._keys[envelope.sender]
        try:
            check_signature(
                envelope.kind,
                envelope.signature,
                digest,
                context=self._bound_to,
                sender=envelope.sender,
                session_key=keys.encryption,
                identity=self._roster.identities[envelope.sender],
            )
        except RemoteProtocolError as error:
            raise Refused(DropoutReason.BAD_SIGNATURE, str(error)) from error

    def _accept(self, envelope: Envelope, message: MemberMessage, digest: bytes) -> None:
        sender = envelope.sender
        if isinstance(message, AdvertiseKeys):
            self._accept_keys(sender, message)
        elif isinstance(message, ShareKeys):
            self._current.take_shares(sender, message)
        elif isinstance(message, MaskedInput):
            self._current.take_input(sender, message, digest)
        elif isinstance(message, Consistency):
            self._current.take_consistency(sender, message, envelope.signature)
        else:
            self._current.take_unmask(sender, message)

    def _accept_keys(self, sender: int, message: AdvertiseKeys) -> None:
        new = {message.encryption, message.masking}
        if len(new) < 2 or new & self._known_keys:
            raise Refused(DropoutReason.MALFORMED, "the advertised keys are not new")
        for key in new:
            # One member with a key that the others refuse would end the session of them all.
            check_public_key(key, peer=sender)
        self._known_keys |= new
        self._keys[sender] = message

    def _drop(self, member: int, reason: DropoutReason, detail: str) -> Dropout:
        drop = Dropout(member, self.step, reason, detail)
        self.dropouts.append(drop)
        if not reason.may_return:
            self._banned[member] = drop
            self._expected -= {member}
        return drop

    def end_step(self) -> dict[int, bytes]:
        """Ends the step with those who answered and returns what they are told next.

        Returns:
            One message for each member that goes on. After the last step of a round, the sum.

        Raises:
            LocalProtocolError: No step is under way.
            TooFewSurvivors: Fewer members are left than the round needs; the round is over.
            RemoteProtocolError: A member dealt shares that rebuild no secret; the round is
                over, and the member is out.
            DisputedPair: One of two members lied; the round is over, and both are out.
        """
        endings = {
            ServerStep.ADVERTISE: self._end_advertise,
            ServerStep.SHARE: self._end_share,
            ServerStep.MASK: self._end_mask,
            ServerStep.CONSISTENCY: self._end_consistency,
            ServerStep.UNMASK: self._end_unmask,
        }
        if self.step not in endings:
            raise LocalProtocolError(f"there is nothing to end in step {self.step.name}")
        for member in sorted(self.waiting_for()):
            self._drop(member, DropoutReason.SILENT, f"no message in {self.step.name}")
        try:
            return endings[self.step](frozenset(self._taken[self.step]))
        except TooFewSurvivors:
            self._leave_round()
            raise
        except DisputedPair as dispute:
            for member in dispute.peers:
                self._drop(member, DropoutReason.DISPUTED_KEY, str(dispute))
            self._leave_round()
            raise
        except RemoteProtocolError as error:
            if error.peer is not None:
                self._drop(error.peer, DropoutReason.BAD_SECRET, str(error))
            self._leave_round()
            raise

    def _end_advertise(self, cohort: frozenset[int]) -> dict[int, bytes]:
        self._check_enough(cohort, cohort)
        self.step = ServerStep.IDLE
        self._expected = frozenset()
        bits = members_to_bits(cohort, self._plan.members)
        return {
            member: encode_coordinator(KeyList(bits, self._entries(member))) for member in cohort
        }

    def _entries(self, member: int) -> dict[int, bytes]:
        entries = {}
        for peer in ({*self._plan.holders(member), member}) & self._keys.keys():
            keys, sent = self._keys[peer], self._taken[ServerStep.ADVERTISE][peer]
            entries[peer] = keys.encryption + keys.masking + signature_of(sent)
        return entries

    def _end_share(self, sharers: frozenset[int]) -> dict[int, bytes]:
        self._check_enough(sharers, sharers)
        self._enter(ServerStep.MASK, sharers)
        return self._current.deliver_shares(sharers)

    def _end_mask(self, answered: frozenset[int]) -> dict[int, bytes]:
        survivors = self._current.agreeing()
        for member in sorted(answered - survivors):
            # Who of the others dealt it a contribution of its own cannot be seen from here.
            self._drop(member, DropoutReason.OTHER_TAG_KEY, "its tag key is not that of most")
            del self._taken[ServerStep.MASK][member]
        self._check_enough(survivors, self._current.sharers)
        self._enter(ServerStep.CONSISTENCY, survivors)
        return dict.fromkeys(survivors, self._current.announce_survivors(survivors))

    def _end_consistency(self, signed: frozenset[int]) -> dict[int, bytes]:
        self._check_recoverable(signed)
        self._enter(ServerStep.UNMASK, signed)
        return {member: self._current.deliver_signatures(member) for member in signed}

    def _end_unmask(self, answered: frozenset[int]) -> dict[int, bytes]:
        self._check_recoverable(answered)
        current = self._current
        total, tag = current.unmasked(self._threads)
        survivors = tuple(sorted(current.survivors))
        opened = current.opened()
        self._result = RoundResult(current.number, total, survivors, verified=False, opened=opened)
        self._leave_round()
        announced = (
            LayeredSum(current.number, tag, total.tobytes(), current.links)
            if self._plan.layers
            else RoundSum(current.number, tag, total.tobytes())
        )
        return dict.fromkeys(answered, encode_coordinator(announced))

    def result(self) -> RoundResult:
        """Returns the sum of the round that ended last.

        Raises:
            LocalProtocolError: It did not end with a sum.
        """
        if self._result is None:
            raise LocalProtocolError("the round has no sum")
        return self._result

    def transcript(self) -> Transcript:
        """Returns the members' signed messages, from which anybody recomputes the sum.

        Raises:
            LocalProtocolError: The round did not end with a sum.
        """
        number, steps = self.result().round, tuple(ServerStep)[:5]
        messages = tuple(self._taken[step] for step in steps)
        return Transcript(self._opening, (number, self._model), messages)

    @property
    def _current(self) -> ServerRound:
        if self._round is None:
            raise LocalProtocolError("no round has begun")
        return self._round

    def _enter(self, step: ServerStep, members: Set[int]) -> None:
        self.step = step
        self._expected = frozenset(members) - self._banned.keys()
        self._taken[step] = {}

    def _leave_round(self) -> None:
        advertised = self.step is not ServerStep.ADVERTISE
        goes_on = advertised and self._rounds_left > 0
        self.step = ServerStep.IDLE if goes_on else ServerStep.CLOSED
        self._expected = frozenset()

    def _check_recoverable(self, holders: frozenset[int]) -> None:
        check_recoverable(self._plan, self._current.sharers, holders, step=self.step.name)

    def _check_enough(self, left: frozenset[int], dealers: frozenset[int]) -> None:
        check_cohort(left, self._plan.min_members, step=self.step.name)
        check_recoverable(self._plan, dealers, left, step=self.step.name)
