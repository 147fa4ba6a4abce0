"""The coordinator's side of a session: members' messages in, the next step's messages out.

The caller decides when a step ends: when every member has answered, or at its deadline. A member
that breaks the protocol is left out with a reason, and the session goes on with the others.
"""

from collections.abc import Set
from dataclasses import replace
from hashlib import sha256

from securefl_protocols.primitives.errors import (
    DisputedPair,
    LocalProtocolError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.session.advertised_keys import AdvertisedKeys
from securefl_protocols.session.dropouts import (
    OPENING,
    Dropout,
    DropoutReason,
    Refused,
    ServerStep,
)
from securefl_protocols.session.participation import Participation
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.recovery import recovery_for
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server_round import ServerRound
from securefl_protocols.wire.codec import Envelope, decode_body, open_envelope
from securefl_protocols.wire.context import SessionContext
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    Consistency,
    MaskedInput,
    MemberMessage,
    Reveal,
    ShareKeys,
)
from securefl_protocols.wire.roster import Roster
from securefl_protocols.wire.transcript import Transcript


class ServerSession:
    """The coordinator in one session of one or more rounds. It has no secrets of its own.

    Attributes:
        plan: The plan of the session; once its members drew a graph, with the seed.
        rounds_left: How many rounds can still begin.
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
        """Open a session; the members advertise keys first.

        Args:
            plan: The plan that the members agreed on.
            roster: Their names and identity keys.
            context: Consortium, run and plan.
            number: Number of the first round.
            model: 32 bytes, the digest of the model that is sent out for it.
            threads: How many threads expand masks.

        Raises:
            LocalProtocolError: The arguments do not belong together.
        """
        if len(roster) != plan.members:
            raise LocalProtocolError("the roster is not the one that the plan was made for")
        if context.plan != plan.digest():
            raise LocalProtocolError("the context is that of another plan")
        self.plan, self._roster, self._context, self._threads = plan, roster, context, threads
        self._opening = (number, model)
        self._bound_to = context.of_round(number, model)
        self._members = Participation(plan)
        self._only: Set[int] | None = None
        self._keys = AdvertisedKeys(plan)
        self._round: ServerRound | None = None
        self.rounds_left, self._model = plan.rounds, model
        self._result: RoundResult | None = None

    @property
    def step(self) -> ServerStep:
        """What is being collected."""
        return self._members.step

    @property
    def dropouts(self) -> list[Dropout]:
        """Who was left out of which step, and why, in the order in which it happened."""
        return self._members.dropouts

    @property
    def banned(self) -> frozenset[int]:
        """Members that are out of the session for good."""
        return frozenset(self._members.banned)

    @property
    def survivors(self) -> frozenset[int]:
        """The survivors of the round under way or ended last; none before they are known."""
        return frozenset() if self._round is None else self._round.survivors

    def begin_round(self, number: int, model: bytes, only: Set[int] | None = None) -> None:
        """Enter a round; the members share keys first.

        Args:
            number: Number of the round, larger than that of every round before.
            model: 32 bytes, the digest of the model that is sent out for the round.
            only: The survivors of the round that this one repeats; with others it has no sum.

        Raises:
            LocalProtocolError: A step is under way, no rounds are left, or the number was used.
        """
        if self.step is not ServerStep.IDLE:
            raise LocalProtocolError(f"no round begins in step {self.step.name}")
        if self._round is not None and number <= self._round.number:
            raise LocalProtocolError("a round has a larger number than those before")
        context = self._context.of_round(number, model)
        recovery, keys = recovery_for(self.plan.rounds), self._keys.by_member
        self._round = ServerRound(self.plan, recovery, keys, number=number, context=context)
        self._bound_to, self._model, self._result = context, model, None
        self.rounds_left -= 1
        self._only = only
        self._members.begin_round(keys.keys())

    def opening(self) -> list[dict[int, bytes]]:
        """Return the messages that the session was opened with, by step and member."""
        return [dict(taken) for step, taken in self._members.accepted.items() if step in OPENING]

    def skip_to(self, banned: Set[int], rounds_left: int) -> None:
        """Go on after rounds that this session served before the coordinator was restarted.

        The caller has built the session anew from the same `opening`.

        Args:
            banned: Members that were out of the session.
            rounds_left: How many rounds could still begin.

        Raises:
            LocalProtocolError: A round has begun since, or there were never so many left.
        """
        if self.step is not ServerStep.IDLE or self._round is not None:
            raise LocalProtocolError("rounds are skipped before the first begins")
        if not 0 <= rounds_left <= self.rounds_left:
            raise LocalProtocolError("the session does not have so many rounds left")
        for member in sorted(banned):
            self._members.leave_out(
                member, DropoutReason.MALFORMED, "out of the session before the restart"
            )
        self.rounds_left = rounds_left

    def waiting_for(self) -> frozenset[int]:
        """Return the members whose message of this step is still missing."""
        return self._members.missing

    def receive(self, sender: int, data: bytes) -> Dropout | None:
        """Take one message of a member.

        Args:
            sender: Index of the member that the transport names.
            data: What arrived. The same bytes a second time are ignored.

        Returns:
            None where the message was accepted, else why the member was left out.

        Raises:
            LocalProtocolError: There is no such member.
        """
        if not 0 <= sender < self.plan.members:
            raise LocalProtocolError("the sender is not in the roster")
        if sender in self._members.banned:
            return self._members.banned[sender]
        # A transport may deliver twice: a repetition is not yet the equivocation that
        # `check_due` bans for.
        if self._members.is_repeated(sender, data):
            return None
        try:
            self._take(sender, data)
        except Refused as refused:
            return self._members.leave_out(sender, refused.reason, str(refused))
        except Exception as error:
            # Also what no check is known to let through costs its sender, and no other member.
            return self._members.leave_out(sender, DropoutReason.MALFORMED, str(error))
        return None

    def _take(self, sender: int, data: bytes) -> None:
        envelope = open_envelope(data, largest=self.plan.largest_message)
        if envelope.sender != sender:
            raise Refused(DropoutReason.MALFORMED, "the message names another sender")
        message = decode_body(envelope.kind, envelope.body)
        if not self.plan.speaks(type(message)):
            raise Refused(DropoutReason.MALFORMED, "a message of a session with another plan")
        # The step comes before the signature: a late message was signed under the context of
        # another round, and its honest sender is not to be banned for a bad signature.
        number = self._round.number if self._round else 0
        self._members.check_due(sender, message, number)
        digest = sha256(envelope.body).digest()
        identity = self._roster.identities[sender]
        self._keys.check_signature(envelope, message, digest, self._bound_to, identity)
        self._accept(envelope, message, digest)
        self._members.accepted[self.step][sender] = data

    def _accept(self, envelope: Envelope, message: MemberMessage, digest: bytes) -> None:
        sender = envelope.sender
        if isinstance(message, AdvertiseKeys):
            self._keys.accept(sender, message)
        elif isinstance(message, Reveal):
            self._keys.take_reveal(sender, message, self._bound_to)
        elif isinstance(message, ShareKeys):
            self._current.take_shares(sender, message)
        elif isinstance(message, MaskedInput):
            self._current.take_input(sender, message, digest)
        elif isinstance(message, Consistency):
            self._current.take_consistency(sender, message, envelope.signature)
        else:
            self._current.take_unmask(sender, message)

    def end_step(self) -> dict[int, bytes]:
        """End the step with those who answered.

        Returns:
            The next message to each member that goes on; after a round's last step, the sum.

        Raises:
            LocalProtocolError: No step is under way.
            TooFewSurvivors: Fewer members are left than the round needs; the round is over.
            RemoteProtocolError: A member distributed shares that rebuild no secret; the round is
                over, and the member is out.
            DisputedPair: One of two members lied; the round is over, and both are out.
        """
        endings = {
            ServerStep.ADVERTISE: self._end_advertise,
            ServerStep.REVEAL: self._end_reveal,
            ServerStep.SHARE: self._end_share,
            ServerStep.MASK: self._end_mask,
            ServerStep.CONSISTENCY: self._end_consistency,
            ServerStep.UNMASK: self._end_unmask,
        }
        if self.step not in endings:
            raise LocalProtocolError(f"there is nothing to end in step {self.step.name}")
        self._members.leave_out_silent()
        try:
            return endings[self.step](self._members.answered)
        except TooFewSurvivors:
            self._leave_round()
            raise
        except DisputedPair as dispute:
            # Which of the two lied cannot be seen, and with either of them the next round could
            # fail in the same way: the honest one is out too, until the next session.
            for member in dispute.peers:
                self._members.leave_out(member, DropoutReason.DISPUTED_KEY, str(dispute))
            self._leave_round()
            raise
        except RemoteProtocolError as error:
            if error.peer is not None:
                self._members.leave_out(error.peer, DropoutReason.BAD_SECRET, str(error))
            self._leave_round()
            raise

    def _end_advertise(self, cohort: frozenset[int]) -> dict[int, bytes]:
        drawing = self.plan.awaits_draw
        self._members.check_enough(cohort, frozenset() if drawing else cohort)
        if drawing:
            self._members.enter(ServerStep.REVEAL, cohort)
        else:
            self._members.rest(ServerStep.IDLE)
        return self._keys.key_lists(self._members.accepted[ServerStep.ADVERTISE])

    def _end_reveal(self, revealed: frozenset[int]) -> dict[int, bytes]:
        seed, outgoing = self._keys.draw(self._bound_to)
        plan = self._members.plan = self.plan = self.plan.drawn(seed)
        self._context = replace(self._context, plan=plan.digest())
        self._keys.plan = plan
        self._members.check_enough(revealed, revealed)
        self._members.rest(ServerStep.IDLE)
        return outgoing

    def _end_share(self, sharers: frozenset[int]) -> dict[int, bytes]:
        self._members.check_enough(sharers, sharers)
        self._members.enter(ServerStep.MASK, sharers)
        return self._current.deliver_shares(sharers)

    def _end_mask(self, answered: frozenset[int]) -> dict[int, bytes]:
        survivors = self._current.agreeing()
        for member in sorted(answered - survivors):
            # Which member sent it a contribution of its own cannot be seen from here.
            self._members.leave_out(
                member, DropoutReason.OTHER_TAG_KEY, "its checksum key is not that of most"
            )
            # Not in the sum, so not in the transcript either: a replay would add it.
            del self._members.accepted[ServerStep.MASK][member]
        self._members.check_enough(survivors, self._current.sharers)
        if self._only is not None and survivors != self._only:
            raise TooFewSurvivors("a repeated round has the survivors of the first, or no sum")
        self._members.enter(ServerStep.CONSISTENCY, survivors)
        return dict.fromkeys(survivors, self._current.announce_survivors(survivors))

    def _end_consistency(self, signed: frozenset[int]) -> dict[int, bytes]:
        self._members.check_recoverable(signed, self._current.sharers)
        self._current.check_proved(signed)
        self._members.enter(ServerStep.UNMASK, signed)
        return {member: self._current.deliver_signatures(member) for member in signed}

    def _end_unmask(self, answered: frozenset[int]) -> dict[int, bytes]:
        current = self._current
        self._members.check_recoverable(answered, current.sharers)
        total, checksum = current.unmasked(self._threads)
        survivors = tuple(sorted(current.survivors))
        opened = current.opened()
        # Not verified: the coordinator has no checksum key. The members and a replay check.
        self._result = RoundResult(current.number, total, survivors, False, opened, checksum)
        self._leave_round()
        return dict.fromkeys(answered, current.announce_sum(total, checksum))

    def result(self) -> RoundResult:
        """Return the sum of the round that ended last.

        Raises:
            LocalProtocolError: It did not end with a sum.
        """
        if self._result is None:
            raise LocalProtocolError("the round has no sum")
        return self._result

    def transcript(self) -> Transcript:
        """Return the members' signed messages, from which any party recomputes the sum.

        Raises:
            LocalProtocolError: The round did not end with a sum.
        """
        number, accepted = self.result().round, self._members.accepted
        messages = tuple(accepted[step] for step in sorted(accepted))
        return Transcript(self._opening, (number, self._model), messages)

    @property
    def _current(self) -> ServerRound:
        if self._round is None:
            raise LocalProtocolError("no round has begun")
        return self._round

    def _leave_round(self) -> None:
        """Wait for the next round, or close a session that never opened or has none left."""
        goes_on = self.step not in OPENING and self.rounds_left > 0
        self._members.rest(ServerStep.IDLE if goes_on else ServerStep.CLOSED)
