"""A drawn graph survives the death of a member or of the coordinator at any step."""

import pytest

from securefl.federation import messages as m
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.transport.base import Delivery
from securefl_protocols.session import plan as plans
from securefl_protocols.wire.messages import CommittedKeyList, GraphDraw
from support.masked_federation import MaskedFederation
from support.member_in_process import rehearsing

DEALER, OTHER = "retailer-0", "retailer-2"


@pytest.fixture
def federation(tmp_path, monkeypatch):
    """Six members on a graph of degree four; above a hundred members all are on such a graph."""
    monkeypatch.setattr(plans, "_degree_and_threshold", lambda *_: (4, 3))
    made = MaskedFederation(tmp_path / "books", members=6)
    yield made
    for member in made.wire.members.values():
        member.close()


def in_process(federation, folder, name):
    federation.wire.members[name].close()
    party = federation.wire.members[name] = rehearsing(federation, folder / name, name)
    return party


def is_opened_by_drawing(federation):
    """Note the kinds of messages that a member is told; a session without a draw shows no fault."""
    seen, before = set(), federation.wire.down

    def down(name, told):
        if isinstance(told, m.Protocol):
            seen.add(told.payload[1])
        return before(name, told)

    federation.wire.down = down
    return lambda: {CommittedKeyList.CODE, GraphDraw.CODE} <= seen


@pytest.mark.parametrize("name", [DEALER, OTHER])
def test_member_restarted_before_every_message(federation, tmp_path, name):
    party = in_process(federation, tmp_path, name)

    def down(told_to, told):
        if told_to == name:
            party.restart()
        return told

    federation.wire.down = down
    drawn = is_opened_by_drawing(federation)
    for number in (1, 2):
        assert federation.round(number).survivors == federation.names
        party.say(m.Save(round=number))
    assert drawn()


@pytest.mark.parametrize("name", [DEALER, OTHER])
def test_member_restarted_from_a_snapshot_keeps_its_session(federation, tmp_path, name):
    """It kept the last message of the opening alone, and two are needed."""
    party = in_process(federation, tmp_path, name)
    federation.round()
    party.say(m.Save(round=1))
    party.restart()
    assert federation.round(2).survivors == federation.names
    assert federation.aggregator._sessions == 1


def test_coordinator_restarted_between_rounds_keeps_the_session(federation):
    """It kept the keys, and not the values of the draw."""
    federation.round()
    again = SecureAggregator(federation.consortium)
    again.restore(federation.aggregator.state())
    assert federation.round(2, again).survivors == federation.names
    assert again._sessions == 1


class Killed(Exception):
    pass


class Journalled:
    """A coordinator's way to the members, with a journal of what they answered."""

    def __init__(self, wire):
        self.wire, self.answers, self.asked, self.limit, self.place = wire, [], [], None, 0

    def publish(self, party, message):
        if self.place < len(self.asked):
            assert self.asked[self.place] == (party, message)
        else:
            if len(self.asked) == self.limit:
                raise Killed
            self.asked.append((party, message))
            self.wire.publish(party, message)
        self.place += 1

    def receive(self, timeout=None):
        if self.wire.waiting:
            self.answers.append(self.wire.receive(timeout))
            return self.answers[-1]
        raise AssertionError("nothing is asked")


class Replayed(Journalled):
    """The same coordinator after a restart: it asks again, and the journal answers first."""

    def __init__(self, before):
        super().__init__(before.wire)
        self.asked, self.told = before.asked, list(before.answers)

    def receive(self, timeout=None):
        if self.told:
            kept = self.told.pop(0)
            return Delivery(kept.sender, kept.message)
        return super().receive(timeout)


def test_coordinator_killed_before_every_request_of_a_round(federation, tmp_path):
    """With six members, 42 requests: three in the opening, and four in the round."""
    killed = 0
    for limit in range(1, 42, 8):
        made = MaskedFederation(tmp_path / f"books-{limit}", members=6)
        first = Journalled(made.wire)
        first.limit = limit
        wire, made.wire = made.wire, first
        with pytest.raises(Killed):
            made.round()
        killed += 1
        made.wire = Replayed(first)
        result = made.round(aggregator=SecureAggregator(made.consortium))
        assert result.survivors == made.names
        for member in wire.members.values():
            member.close()
    assert killed == 6
