"""One member, or a coordinator's death, must not leave a round without a sum for ever, unseen."""

import pytest

from securefl.errors import RunDirectoryError
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import (
    RoundFailedError,
    SecureAggregator,
    UnverifiedRoundError,
)
from securefl.federation.aggregation.tries import Tries
from securefl_protocols.session import client_round
from securefl_protocols.session import plan as plans
from securefl_protocols.wire.messages import CommittedKeys, MaskedInput, Reveal, Unmask
from support.masked_federation import MaskedFederation
from support.member_in_process import rehearsing

LIAR = "retailer-1"


@pytest.fixture
def federation(tmp_path):
    made = MaskedFederation(tmp_path / "books")
    yield made
    for member in made.wire.members.values():
        member.close()


def says(reply, kind):
    return isinstance(reply, m.Protocol) and reply.payload[1] == kind.CODE


def commits_to_another_seed(federation, monkeypatch):
    """The liar's shares fit their commitments, and the secret that they rebuild does not."""
    masked, honest = federation.wire.members[LIAR].masked, client_round.seed_commitment
    begin = masked._begin

    def lying(session):
        with monkeypatch.context() as patch:
            patch.setattr(client_round, "seed_commitment", lambda *_: b"\1" * len(honest(*_)))
            return begin(session)

    masked._begin = lying


def test_secret_that_never_rebuilds_stops_by_name(federation, monkeypatch):
    """All are bound to a sum with the liar in it: it was tried without end, and no name told."""
    commits_to_another_seed(federation, monkeypatch)
    with pytest.raises(RoundFailedError, match=LIAR):
        federation.round()
    with pytest.raises(UnverifiedRoundError) as stopped:
        federation.round()
    assert str(stopped.value) == (
        "round 1: members revealed shares for its sum 4 times, 3 repeats were agreed, and there is"
        f" none: {LIAR}: the rebuilt seed is not the one committed to"
    )


def deals_bad_boxes(federation, monkeypatch, victims):
    """The liar deals some members boxes that do not open, in every try."""
    masked, honest = federation.wire.members[LIAR].masked, client_round.ClientRound._deal
    begin, holders = masked._begin, {federation.names.index(name) for name in victims}

    def deal(self, holder, dealt):
        made = honest(self, holder, dealt)
        return made[:-1] + bytes([made[-1] ^ 1]) if holder in holders else made

    def lying(session):
        with monkeypatch.context() as patch:
            patch.setattr(client_round.ClientRound, "_deal", deal)
            return begin(session)

    masked._begin = lying


def test_dealer_of_bad_boxes_is_left_out(federation, tmp_path, monkeypatch):
    """So many stopped that none of the tries had a sum, and it was not known because of whom."""
    victims, blamed = federation.names[2:4], []
    deals_bad_boxes(federation, monkeypatch, victims)
    federation.wire.members[victims[0]].close()
    party = rehearsing(federation, tmp_path / "state", victims[0])
    federation.wire.members[victims[0]] = party

    def up(name, said):
        if isinstance(said, m.Failure):
            blamed.append((name, said.blames, said.text.startswith("see error")))
        return said

    federation.wire.up = up
    others = tuple(name for name in federation.names if name != LIAR)
    assert federation.round().survivors == others
    assert blamed == [(victims[0], LIAR, True), (victims[1], LIAR, False)]
    assert federation.round(2).survivors == others


def test_word_of_few_leaves_no_member_out(federation, monkeypatch):
    """One that stops is missing, and the others go on, with the one that it blames."""
    deals_bad_boxes(federation, monkeypatch, federation.names[2:3])
    others = tuple(name for name in federation.names if name != federation.names[2])
    assert federation.round().survivors == others
    assert federation.aggregator._sessions == 1


def test_silent_member_is_not_in_the_next_opening(tmp_path, monkeypatch):
    """Of a drawn graph: between its keys and its value one member falls silent, every time."""
    monkeypatch.setattr(plans, "_degree_and_threshold", lambda *_: (4, 3))
    federation, asked = MaskedFederation(tmp_path, members=7), []
    others = tuple(name for name in federation.names if name != LIAR)

    def up(name, said):
        if says(said, CommittedKeys):
            asked.append(name)
        return None if name == LIAR and says(said, Reveal) else said

    federation.wire.up = up
    for number in (1, 2):
        assert federation.round(number).survivors == others
        assert asked == [*federation.names, *others]
        asked.clear()
    federation.wire.up = lambda _, said: said
    assert federation.round(3).survivors == federation.names


def test_too_few_would_be_left_so_all_are_asked(tmp_path, monkeypatch):
    """Most fall silent once: they are not left out, or the round had no try with enough of them."""
    monkeypatch.setattr(plans, "_degree_and_threshold", lambda *_: (4, 3))
    federation = MaskedFederation(tmp_path, members=6)
    quiet = set(federation.names[2:])

    def up(name, said):
        lost = says(said, Reveal) and name in quiet
        quiet.discard(name)
        return None if lost else said

    federation.wire.up = up
    assert federation.round().survivors == federation.names


def lost_while_unmasking(federation):
    """Three survivors of five fall silent once shares have left; the fifth was never in it."""
    lost = set(federation.names[:3])

    def up(name, said):
        if name == federation.names[4] and says(said, MaskedInput):
            return None
        return None if name in lost and says(said, Unmask) else said

    federation.wire.up = up
    federation.aggregator._again = dies
    with pytest.raises(KeyboardInterrupt):
        federation.round()
    federation.wire.up = lambda _, said: said


def dies(session):
    raise KeyboardInterrupt


def test_restarted_coordinator_knows_whom_a_try_bound(federation, tmp_path):
    """Without a journal it asked all, and those whose shares had left refused any such sum."""
    path = tmp_path / "tries.json"
    federation.aggregator = SecureAggregator(federation.consortium, memory=path)
    lost_while_unmasking(federation)
    again = SecureAggregator(federation.consortium, memory=path)
    again._sessions = 10
    assert federation.round(aggregator=again).survivors == federation.names[:4]
    assert again._sessions == 11
    assert federation.round(2, aggregator=again).survivors == federation.names


def test_restarted_coordinator_control_has_no_sum(federation):
    lost_while_unmasking(federation)
    again = SecureAggregator(federation.consortium)
    again._sessions = 10
    with pytest.raises(RoundFailedError):
        federation.round(aggregator=again)


def test_tries_of_another_round_or_model_are_none(tmp_path):
    path = tmp_path / "tries.json"
    Tries((3, b"\1" * 32), path).reveal(("a", "b"))
    kept = Tries.of((3, b"\1" * 32), path)
    assert (kept.bound, kept.revealed) == (("a", "b"), 1)
    for other in ((4, b"\1" * 32), (3, b"\2" * 32)):
        assert Tries.of(other, path) == Tries(other, path)
    for content in ("", "[]", "{}", '{"round": 3}'):
        path.write_text(content)
        with pytest.raises(RunDirectoryError):
            Tries.of((3, b"\1" * 32), path)
