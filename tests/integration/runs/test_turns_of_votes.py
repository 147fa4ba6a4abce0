"""What a member keeps of rounds for its next vote, and when it has no opinion of a sum."""

from types import SimpleNamespace

import msgpack
import numpy as np
import pytest
from torch import nn

from securefl.audit.attacks.poison.federations import family_data
from securefl.consortium.ledger.vote_events import Vote
from securefl.federation import messages as m
from securefl.federation.member.open_session import TrainedUpdate
from securefl.federation.member.votes import KnownSums, MemberVotes
from securefl.federation.runs.prepare import prepare_data
from securefl.federation.runs.simulation import local_consortium
from securefl.federation.scores.judgement import ABSTAIN, ACCEPT, TURN
from support.vote_setup import voting

MEMBER = "retailer-0"
OWN = (1, 1, 0, 0, 0)


class Books:
    """A ledger of ballots and votes, in memory."""

    run = 1

    def __init__(self):
        self._events, self.privacy_ledger = {}, self

    def record(self, event):
        self._events[event.kind, event.round] = SimpleNamespace(event=event)

    def entry_of(self, run, kind, number):
        del run
        return self._events.get((kind, number))


class Voter:
    """One member's votes, without data: it is shown rounds and outcomes."""

    def __init__(self, consortium, identity):
        self._sums, model = {}, nn.Linear(5, 1, bias=False)
        self._rounds = SimpleNamespace(update=None, trainer=None, model=model)
        self._spec = SimpleNamespace(consortium=consortium, identity=identity)
        self._books = Books()
        self.votes = self.anew()

    def anew(self):
        """Its votes after a restart, with its ledger, before it takes up a state."""
        scoring = SimpleNamespace(metrics=[SimpleNamespace(higher_is_better=True)])
        sums = KnownSums(self._sums.get, lambda _: 0.0)
        return MemberVotes(self._spec, scoring, self._rounds, self._books, sums)

    def restart(self):
        """Kill it, and begin from the state that it would have saved now."""
        state = msgpack.unpackb(msgpack.packb(self.votes.state()))
        self.votes = self.anew()
        self.votes.restore(state)

    def vote(self, number, mean=OWN, summed=(500, 5)):
        """Its ballot on a round that it trained for, by the mean of all and what it knows of it."""
        own, start = np.array(OWN, np.float32), np.zeros(5, np.float32)
        self._rounds.update = TrainedUpdate(number, start, own, 0.0, 100)
        self._sums[number] = summed
        shared = m.pack_vector(np.array(mean, np.float32))
        return self.votes.answer(m.VoteRequest(round=number, shared=shared)).ballot

    def show(self, number, *, rejected=False):
        """Show it the outcome of a vote."""
        self.votes.record(Vote(round=number, model="00" * 32, ballots=(), rejected=rejected))

    def before(self, number):
        """What a round is compared with."""
        looked_at, part = self.votes._accepted
        return part if looked_at == number else None


@pytest.fixture(scope="module")
def parties():
    config = voting(rounds=5)
    return local_consortium(prepare_data(config, family_data("ranking", config, 5)))


@pytest.fixture
def voter(parties):
    consortium, keys = parties
    return Voter(consortium, keys[MEMBER])


def test_vote_shown_again_changes_nothing(voter):
    """A coordinator that concluded a round twice had the next one compared with nothing."""
    assert voter.vote(1) == ACCEPT
    voter.show(1)
    first = voter.before(2)
    assert first is not None
    voter.show(1)
    assert voter.before(2) is first
    voter.vote(2)
    voter.show(1)
    voter.show(2)
    second = voter.before(3)
    assert second is not None
    assert second is not first


def test_older_round_that_is_asked_again_leaves_the_newest_to_compare_with(voter):
    """A coordinator that asked for a ballot of before had the next round compared with nothing."""
    voter.vote(1)
    voter.show(1)
    voter.vote(2)
    voter.vote(1)
    voter.show(2)
    assert voter.before(3) is not None


def test_rejection_keeps_nothing_older_than_the_round_before(voter):
    """Round 3 had no vote or is unknown: it, and not round 2, is the last accepted one."""
    voter.vote(2)
    voter.show(2)
    voter.vote(4)
    voter.show(4, rejected=True)
    assert voter.before(5) is None


def test_rejection_keeps_the_last_accepted_round(voter):
    voter.vote(1)
    voter.show(1)
    first = voter.before(2)
    voter.vote(2)
    voter.show(2, rejected=True)
    assert voter.before(3) is first


def test_rounds_are_first_ones_until_a_model_is_accepted(voter):
    """A repeated first round begins from a model that nobody has trained, as it did before."""
    assert voter.votes._first_layers(1)
    voter.vote(1)
    voter.show(1, rejected=True)
    assert voter.votes._first_layers(2)
    voter.vote(2)
    voter.show(2)
    assert not voter.votes._first_layers(3)


@pytest.mark.parametrize(
    "changes",
    [{"warm_start": "model.safetensors"}, {"privacy": {"dp": "local", "epsilon": 8.0}}],
)
def test_no_round_is_a_first_one_where_updates_need_not_be_alike(parties, changes):
    """From a model that was trained before, or under noise of their own."""
    config = voting(rounds=5).model_copy(update={"warm_start": changes.get("warm_start")})
    if "privacy" in changes:
        config = voting(rounds=5, changes={"privacy": changes["privacy"]})
    other = SimpleNamespace(config=config)
    assert not Voter(other, parties[1][MEMBER]).votes._first_layers(1)


def test_member_outside_a_sum_accuses_nobody(voter):
    """It trained, and its input came too late: the change has no part of it."""
    assert voter.vote(1, mean=(0, 0, 1, 1, 1), summed=None) == ABSTAIN


TURNED = (0.7, 0.7, 0.9, 0, 0)
"""A mean of all that is no further from the own update than usual, and that was not so before."""


@pytest.mark.parametrize("killed", ["never", "after the vote", "after its outcome"])
def test_restarted_member_still_sees_a_turn(voter, killed):
    """Who can crash an honest member must not switch its eyes off."""
    assert voter.vote(1, mean=(1, 1, 0.0, 0.3, 0)) == ACCEPT
    if killed == "after the vote":
        voter.restart()
    voter.show(1)
    if killed == "after its outcome":
        voter.restart()
    assert voter.before(2) is not None
    assert voter.vote(2, mean=TURNED) == TURN


def test_member_killed_behind_its_ballot_looks_again(voter):
    """Its ballot is in the ledger; the round that the next one is compared with has to be too."""
    voter.vote(1)
    voter.votes = voter.anew()
    assert voter.vote(1) == ACCEPT
    voter.show(1)
    assert voter.before(2) is not None
