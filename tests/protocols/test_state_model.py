"""The members' state machine as a model, searched whole against a coordinator that lies.

The coordinator tells each honest member anything at any time, or nothing any more (a dropout), in
every order; colluding members sign whatever it likes and give it all shares that they hold. The
model has the checks of docs/specification/protocol.md, section 6, for the complete graph, and the
searches visit every state that can be reached. In none are both secrets of an honest member
rebuilt, and no two sums of the same inputs come out, also where the round is repeated. Beyond the
number of colluding members that the threshold tolerates, and without one of the checks, the same
search finds both.

`test_model_takes_what_a_member_takes` holds the model against the real `ClientSession`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.wire.roster import members_to_bits
from support.session_driver import Consortium, Exchange, changed, inputs, small_plan, told

Set = frozenset[int]
Local = tuple[str, Set, Set]
"""What a member did last, the sharers and the survivors that it was told."""

START: Local = ("SHARED", frozenset(), frozenset())


@dataclass(frozen=True)
class Model:
    """A round of n members, of which the last c collude.

    Attributes:
        agreement: Whether members wait for t signatures over their survivors.
        bound: By honest member, the survivors that its round must have, as it repeats another.
    """

    members: int
    threshold: int
    colluding: int
    agreement: bool = True
    bound: tuple[Set | None, ...] = ()

    @property
    def honest(self) -> range:
        return range(self.members - self.colluding)

    def sets(self, within: Set, member: int) -> Iterator[Set]:
        """Every set that a member may be told: itself in it, and at least t."""
        others = sorted(within - {member})
        for size in range(self.threshold - 1, len(others) + 1):
            for some in combinations(others, size):
                yield frozenset(some) | {member}

    def signers(self, state: tuple[Local, ...], survivors: Set) -> int:
        """How many signatures over a set of survivors the coordinator can show."""
        signed = sum(
            local[0] in {"SIGNED", "UNMASKED"} and local[2] == survivors for local in state
        )
        return signed + len(survivors & frozenset(range(len(self.honest), self.members)))

    def moves(self, state: tuple[Local, ...]) -> Iterator[tuple[Local, ...]]:
        """Every state after one message to one honest member."""
        everybody = frozenset(range(self.members))
        for member in self.honest:
            step, sharers, survivors = state[member]
            following: list[Local] = []
            if step == "SHARED":
                following = [("MASKED", s, frozenset()) for s in self.sets(everybody, member)]
            elif step == "MASKED":
                only = self.bound[member] if self.bound else None
                following = [
                    ("SIGNED", sharers, s)
                    for s in self.sets(sharers, member)
                    if only is None or s == only
                ]
            elif step == "SIGNED" and (
                not self.agreement or self.signers(state, survivors) >= self.threshold
            ):
                following = [("UNMASKED", sharers, survivors)]
            for local in following:
                yield (*state[:member], local, *state[member + 1 :])

    def reachable(self) -> set[tuple[Local, ...]]:
        """Every state that some order of messages leads to."""
        start = (START,) * len(self.honest)
        seen, frontier = {start}, [start]
        while frontier:
            new = set(self.moves(frontier.pop())) - seen
            seen |= new
            frontier.extend(new)
        return seen

    def opened(self, state: tuple[Local, ...], member: int) -> tuple[bool, bool]:
        """Whether the coalition can rebuild a member's seed, and its key."""
        seed = key = self.colluding
        for step, sharers, survivors in state:
            if step == "UNMASKED" and member in sharers:
                seed += member in survivors
                key += member not in survivors
        return seed >= self.threshold, key >= self.threshold

    def both_out(self, state: tuple[Local, ...]) -> bool:
        return any(all(self.opened(state, member)) for member in self.honest)

    def sums(self, state: tuple[Local, ...]) -> set[Set]:
        """The honest inputs in every sum that the coalition can compute, whatever was announced.

        A masked input is open to it once the seed is, but for the masks with honest members whose
        keys are not out. So inputs come out together, in the parts that such masks hold together,
        and only if every seed in a part is out and every mask in it cancels.
        """
        opened = {member: self.opened(state, member) for member in self.honest}
        told = {member: state[member][1] for member in self.honest}
        tied = {
            member: {
                peer
                for peer in self.honest
                if peer != member and (peer in told[member] or member in told[peer])
                if not opened[peer][1]
            }
            for member in self.honest
        }
        return {
            part
            for part in (self._part(tied, member) for member in self.honest)
            if all(opened[m][0] and told[m] for m in part)
            and all(peer in told[m] for m in part for peer in part)
        }

    @staticmethod
    def _part(tied: dict[int, set[int]], member: int) -> Set:
        part, frontier = {member}, [member]
        while frontier:
            new = tied[frontier.pop()] - part
            part |= new
            frontier.extend(new)
        return frozenset(part)

    def is_signed(self, state: tuple[Local, ...], inputs: Set) -> bool:
        """Whether every member that gave its shares was told exactly these honest survivors."""
        honest = frozenset(self.honest)
        return all(s & honest == inputs for step, _, s in state if step == "UNMASKED")

    def bounds(self, state: tuple[Local, ...]) -> tuple[Set | None, ...]:
        """What each member accepts in a repeat: after its shares, the same survivors alone."""
        return tuple(s if step == "UNMASKED" else None for step, _, s in state)


STATES = {
    (3, 3, 0): 34,
    (3, 3, 1): 12,
    (3, 3, 2): 4,
    (4, 3, 0): 23_747,
    (4, 3, 1): 2322,
    (4, 4, 3): 4,
}
"""Members, threshold and colluding members (up to 2t - n - 1), and how many states there are."""

REPEATED = {(3, 3, 0): 272, (3, 3, 1): 48, (4, 3, 1): 22_744}
"""States of the second round, over all that the first can end in."""


@pytest.mark.parametrize(("members", "threshold", "colluding"), list(STATES))
def test_no_state_has_both_secrets_of_a_member(members, threshold, colluding):
    model = Model(members, threshold, colluding)
    states = model.reachable()
    assert len(states) == STATES[members, threshold, colluding]
    assert not any(model.both_out(state) for state in states)
    assert all(len(model.sums(state)) <= 1 for state in states)
    assert all(model.is_signed(state, part) for state in states for part in model.sums(state))
    # The search is not empty: some order of messages opens seeds, and some opens keys.
    assert any(model.opened(state, 0)[0] for state in states)


@pytest.mark.parametrize(("members", "threshold", "colluding"), list(REPEATED))
def test_no_repeat_gives_a_second_sum(members, threshold, colluding):
    """Whatever the first round ended in, a sum of the second is over the same inputs."""
    first = Model(members, threshold, colluding)
    endings = {(first.bounds(s), frozenset(first.sums(s))) for s in first.reachable()}
    visited = 0
    for bounds in {bounds for bounds, _ in endings}:
        known = {x for other, sums in endings if other == bounds for x in sums}
        second = Model(members, threshold, colluding, bound=bounds)
        states = second.reachable()
        visited += len(states)
        for state in states:
            assert not second.both_out(state)
            assert len(known | second.sums(state)) <= 1
    assert visited == REPEATED[members, threshold, colluding]


def test_repeat_control_without_the_bound_gives_a_second_sum():
    model = Model(4, 3, 1)
    found = {frozenset(model.sums(state)) for state in model.reachable()}
    assert len({s for sums in found for s in sums}) > 1


@pytest.mark.parametrize("colluding", [2, 3])
def test_model_control_too_many_colluders(colluding):
    model = Model(4, 3, colluding)
    assert any(len(model.sums(state)) > 1 for state in model.reachable()) or any(
        model.both_out(state) for state in model.reachable()
    )


def test_model_control_without_the_signatures():
    """Members that wait for none help to a sum that some of them were never told of."""
    model = Model(4, 3, 1, agreement=False)
    states = model.reachable()
    assert not all(model.is_signed(state, part) for state in states for part in model.sums(state))


EVERYBODY = frozenset(range(4))
SUBSETS = [frozenset(some) for size in range(5) for some in combinations(range(4), size)]
PLAN = small_plan(4, min_members=3)


def led_to(steps: int) -> tuple[Exchange, dict[int, bytes]]:
    """A session of four, and the message that would end the given step."""
    exchange = Exchange.of(Consortium(PLAN))
    exchange.advertise()
    exchange.begin(inputs(PLAN))
    for _ in range(steps):
        exchange.step()
    for index, message in exchange.outbox.items():
        exchange.server.receive(index, message)
    return exchange, exchange.server.end_step()


def takes(exchange: Exchange, message: bytes) -> bool:
    try:
        return bool(exchange.clients[0].receive(message))
    except RemoteProtocolError:
        return False


def test_model_takes_what_a_member_takes():
    """Every set that a member of four can be told, in each of the three steps."""
    model = Model(4, 3, 0)
    for sharers in SUBSETS:
        exchange, messages = led_to(0)
        deals = {m: row for m, row in told(messages[0]).deals.items() if m in sharers}
        shown = changed(messages[0], cohort=members_to_bits(sharers, 4), deals=deals)
        assert takes(exchange, shown) == (sharers in set(model.sets(EVERYBODY, 0)))
    for survivors in SUBSETS:
        exchange, messages = led_to(1)
        rows = {m: row for m, row in told(messages[0]).survivors.items() if m in survivors}
        shown = changed(messages[0], survivors=rows)
        assert takes(exchange, shown) == (survivors in set(model.sets(EVERYBODY, 0)))
    for signers in SUBSETS:
        exchange, messages = led_to(2)
        rows = {m: row for m, row in told(messages[0]).signatures.items() if m in signers}
        shown = changed(messages[0], signatures=rows)
        assert takes(exchange, shown) == (len(signers) >= 3)
