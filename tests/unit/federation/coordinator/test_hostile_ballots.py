"""What a member sends in the place of its ballot: the agreement decides without it, by name."""

import logging
import os

import numpy as np
import pytest

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.keys.key_files import generate_key
from securefl.federation import messages as m
from securefl.federation.coordinator.vote import hold_vote
from securefl.federation.runs.simulation import local_agreement
from securefl.federation.scores.ballots import signed_ballot
from securefl.federation.scores.judgement import ACCEPT, WORSE
from securefl.ml.vectors import model_digest
from support.vote_setup import voting

NAMES = ("a", "b", "c", "d", "e")
HOSTILE = "c"
MODEL = np.ones(3, np.float32)
NUMBER = 2


@pytest.fixture(scope="module")
def parties():
    """A consortium of five that votes, and its keys."""
    keys = {name: generate_key() for name in NAMES}
    signed = local_agreement("votes", voting(rounds=3), keys)
    return Consortium(signed, os.urandom(32)), keys


class Replies:
    """The way to members that have answered already."""

    def __init__(self, replies):
        self._replies = replies

    def replies(self, requests):
        assert set(requests) == set(NAMES)
        return self._replies


def ballot(parties, name=HOSTILE, number=NUMBER, model=MODEL, said=ACCEPT):
    consortium, keys = parties
    digest = model_digest(model)
    signature = signed_ballot(consortium, keys[name], number, digest, said)
    return m.Ballot(round=number, ballot=said, signature=signature)


def of_older_round(parties):
    return ballot(parties, number=1)


def of_older_round_renamed(parties):
    return ballot(parties, number=1).model_copy(update={"round": NUMBER})


def of_another_model(parties):
    return ballot(parties, model=MODEL + 1)


def that_another_signed(parties):
    return ballot(parties, name="d")


def that_nobody_may_give(parties):
    return ballot(parties, said="reject: envy")


def turned_after_it_was_signed(parties):
    return ballot(parties).model_copy(update={"ballot": WORSE})


UNSIGNED = "it did not sign this ballot on this model"
WAYS = [
    (lambda _: m.Absent(), "it gave no answer in time"),
    (lambda _: m.Failure(error="MessageError", text="no\nvote"), "c failed: no"),
    (lambda _: m.Done(), "c answered 'Done' out of turn"),
    (of_older_round, "its ballot is on round 1"),
    (of_older_round_renamed, UNSIGNED),
    (of_another_model, UNSIGNED),
    (that_another_signed, UNSIGNED),
    (that_nobody_may_give, UNSIGNED),
    (turned_after_it_was_signed, UNSIGNED),
]


@pytest.mark.parametrize(("way", "reason"), WAYS)
@pytest.mark.parametrize(("against", "rejects"), [(1, False), (2, True), (4, True)])
def test_agreement_decides_without_a_hostile_ballot(parties, caplog, way, reason, against, rejects):
    consortium, _ = parties
    honest = [name for name in NAMES if name != HOSTILE]
    replies = {
        name: ballot(parties, name, said=WORSE if place < against else ACCEPT)
        for place, name in enumerate(honest)
    }
    replies[HOSTILE] = way(parties)
    with caplog.at_level(logging.WARNING):
        vote = hold_vote(Replies(replies), consortium, NAMES, (NUMBER, MODEL, None))
    assert vote.rejected is rejects
    assert vote.absent == (HOSTILE,)
    assert set(vote.ballots) == set(honest)
    (line,) = caplog.messages
    assert line.startswith(f"round 2: c gave no ballot that counts: {reason}")
    assert "\n" not in line
