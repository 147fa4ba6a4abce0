"""Who takes part: the step under way, who has answered in it, who is out, whether enough are left.

The coordinator's bookkeeping of a session. It decides nothing about the content of a message;
`ServerSession` does that, and reports here whom it accepted and whom it left out.
"""

from collections.abc import Set

from securefl_protocols.primitives.errors import TooFewSurvivors
from securefl_protocols.session.dropouts import (
    COLLECTED_IN,
    OPENING,
    Dropout,
    DropoutReason,
    Refused,
    ServerStep,
)
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.messages import AdvertiseKeys, MemberMessage, Reveal


class Participation:
    """The members of one session, step by step.

    Attributes:
        plan: The plan of the session; once the graph is drawn, the one that names it.
        step: What is being collected.
        dropouts: Who was left out of which step, and why, in the order in which it happened: in
            the opening, in the round under way or ended last, and of earlier rounds only those
            that banned a member. A member stands there once a step and reason, whatever it sends.
        banned: By member that is out of the session, the dropout that ended its part.
        expected: Members that the step under way waits for or has heard.
        accepted: By step, the accepted messages by member: the advertised keys of the session,
            and the messages of the round under way.
    """

    def __init__(self, plan: SessionPlan) -> None:
        """Wait for the keys of every member of the roster.

        Args:
            plan: The plan of the session.
        """
        self.plan = plan
        self.step = ServerStep.ADVERTISE
        self.dropouts: list[Dropout] = []
        self.banned: dict[int, Dropout] = {}
        self.expected = frozenset(range(plan.members))
        self.accepted: dict[ServerStep, dict[int, bytes]] = {ServerStep.ADVERTISE: {}}

    def begin_round(self, members: Set[int]) -> None:
        """Forget the round before and wait for the shares of these members."""
        self.accepted = {s: taken for s, taken in self.accepted.items() if s in OPENING}
        self.dropouts = [d for d in self.dropouts if d.step in OPENING or not d.reason.may_return]
        self.enter(ServerStep.SHARE, members)

    def enter(self, step: ServerStep, members: Set[int]) -> None:
        """Begin a step with those of the members that are not banned."""
        self.step = step
        self.expected = frozenset(members) - self.banned.keys()
        self.accepted[step] = {}

    def rest(self, step: ServerStep) -> None:
        """Stand in a step that collects nothing: between rounds, or at the end."""
        self.step = step
        self.expected = frozenset()

    @property
    def missing(self) -> frozenset[int]:
        """Members whose message of this step has not been accepted."""
        return self.expected - self.accepted.get(self.step, {}).keys()

    @property
    def answered(self) -> frozenset[int]:
        """Members whose message of this step has been accepted."""
        return frozenset(self.accepted[self.step])

    def is_repeated(self, sender: int, data: bytes) -> bool:
        """Return whether exactly these bytes were accepted from the member before."""
        return any(messages.get(sender) == data for messages in self.accepted.values())

    def check_due(self, sender: int, message: MemberMessage, round_number: int) -> None:
        """Check that a message is the one that this step expects of its sender.

        Args:
            sender: Index of the member.
            message: Its message.
            round_number: Number of the round under way, 0 before the first.

        Raises:
            Refused: It is too late, too early, a second one, or of a member left behind.
        """
        belongs = COLLECTED_IN[type(message)]
        # The opening lies before every round; its messages carry no number.
        number = -1 if isinstance(message, AdvertiseKeys | Reveal) else message.round
        position = (number, belongs)
        here = (-1 if self.step in OPENING else round_number, self.step)
        if position > here:
            raise Refused(DropoutReason.OUT_OF_STEP, f"{belongs.name} has not begun")
        # A masked input that arrives after its step is stored nowhere: by then its sender counts
        # as a dropout, its key shares may be out, and the self mask is all that hides the input.
        if position < here:
            raise Refused(DropoutReason.LATE, f"{belongs.name} has ended")
        if sender in self.accepted[self.step]:
            raise Refused(DropoutReason.EQUIVOCATION, f"two different messages in {belongs.name}")
        if sender not in self.expected:
            raise Refused(DropoutReason.LATE, f"{belongs.name} goes on without the member")

    def leave_out(self, member: int, reason: DropoutReason, detail: str) -> Dropout:
        """Leave a member out of this step, and ban it where no honest member does what it did."""
        dropout = Dropout(member, self.step, reason, detail)
        # A member may send late messages for ever; the list of them has an end.
        if not any(
            (d.member, d.step, d.reason) == (member, self.step, reason) for d in self.dropouts
        ):
            self.dropouts.append(dropout)
        if not reason.may_return:
            self.banned[member] = dropout
            self.expected -= {member}
        return dropout

    def leave_out_silent(self) -> None:
        """Leave out every member whose message of this step is missing."""
        for member in sorted(self.missing):
            self.leave_out(member, DropoutReason.SILENT, f"no message in {self.step.name}")

    def check_enough(self, left: Set[int], owners: Set[int]) -> None:
        """Check that a sum of these members may be learnt, and every secret can be rebuilt.

        Args:
            left: Members that are left.
            owners: Members whose secrets must be rebuilt.

        Raises:
            TooFewSurvivors: Fewer are left than the plan's `min_members`, or than t holders of
                some owner's shares.
        """
        least = self.plan.min_members
        if len(left) < least:
            raise TooFewSurvivors(
                f"after {self.step.name}, {len(left)} members are left; the plan wants {least}"
            )
        self.check_recoverable(left, owners)

    def check_recoverable(self, holders: Set[int], owners: Set[int]) -> None:
        """Check that t holders of every owner's shares are left.

        In a sparse graph, one member that is short of holders ends the round. Leaving that
        member out would not help: its neighbour on the circle would be short instead.

        Args:
            holders: Members that are left to reveal shares.
            owners: Members whose secrets must be rebuilt.

        Raises:
            TooFewSurvivors: The secrets of some owner are lost.
        """
        for owner in sorted(owners):
            left = len(self.plan.holders(owner).keys() & holders)
            if left < self.plan.threshold:
                raise TooFewSurvivors(
                    f"after {self.step.name}, {left} members hold shares of member {owner}'s "
                    f"secrets; the threshold is {self.plan.threshold}"
                )
