"""One member's wrong ledger answer makes it absent, and never ends the others' run."""

import msgpack
import pytest

from securefl.consortium.ledger.events import Outcome
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.consortium.ledger.transparency_log import LogError
from securefl.consortium.ledger.vote_events import SignedBallot, Vote
from securefl.consortium.ledger.witness import UnverifiedTreeHead
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.coordinator.fault_tolerant import FailuresAsAbsence
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.scores.ballots import packed_ballots
from securefl.federation.transport.base import Delivery
from securefl.federation.transport.exchange import Exchange


class Wire:
    """Members with their ledgers; a test may change what they say."""

    def __init__(self, ledgers, up):
        self.ledgers = {ledger.name: ledger for ledger in ledgers}
        self.up, self.waiting = up, []

    def publish(self, party, message):
        said = self.up(party, self._answer(self.ledgers[party], m.decode(message)))
        self.waiting.append(Delivery(party, m.encode(said)))

    def receive(self, timeout=None):
        del timeout
        return self.waiting.pop(0)

    @staticmethod
    def _answer(ledger, asked):
        if isinstance(asked, m.ShowHead):
            proofs = {number: (place, proof) for number, place, proof in asked.inclusions}
            shown = UnverifiedTreeHead(asked.head, asked.consistency, proofs)
            return m.Countersigned(signature=ledger.countersign(shown))
        entries = tuple(ledger.entries(asked.since))
        return m.Entries(entries=entries, signed=ledger.signed_size())


def changed(said, **fields):
    return said.model_copy(update=fields) if isinstance(said, m.Entries) else said


NESTED = b'{"entry":' + b"[" * 500 + b"]" * 500 + b"}"

WRONG = {
    "junk": lambda said: changed(said, entries=(b"junk",)),
    "nested": lambda said: changed(said, entries=(NESTED,)),
    "no text": lambda said: changed(said, entries=(b'{"entry":"\\ud800"}', b"\xff")),
    "twice": lambda said: (
        changed(said, entries=said.entries * 2) if isinstance(said, m.Entries) else said
    ),
    "signed": lambda said: changed(said, signed=1 << 60),
    "countersignature": lambda said: (
        m.Countersigned(signature=b"\1" * 64) if isinstance(said, m.Countersigned) else said
    ),
    "another kind": lambda said: m.Done() if isinstance(said, m.Entries) else said,
    "another kind for a head": lambda said: m.Done() if isinstance(said, m.Countersigned) else said,
    "refusal": lambda said: (
        m.Refused(round=0, reason="x", text="x", entries=(b"junk",))
        if isinstance(said, m.Entries)
        else said
    ),
}


@pytest.fixture
def ledgers(released):
    return [released(name) for name in ("north", "south", "west")]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_ledger_answer_costs_its_sender(wrong, ledgers, log):
    """It is named with a reason, and the others' head is cosigned; once right, so is its own."""
    spoiled, kept, named = [True], log(), []
    wire = Wire(ledgers, lambda name, said: wrong(said) if name == "north" and spoiled else said)
    exchange = FailuresAsAbsence(wire)
    exchange.report = lambda party, reason: named.append((party, reason))
    names = ("north", "south", "west")
    begun = Recorder(kept, exchange, names).begin()
    assert set(begun) >= {"south", "west"}
    assert {party for party, reason in named if reason} == {"north"}
    assert set(kept.heads()[-1].signatures) == {"south", "west"}
    spoiled.clear()
    Recorder(kept, FailuresAsAbsence(wire), names).finish(names, 1)
    assert set(kept.heads()[-1].signatures) == set(names)
    spoiled.append(True)
    if begun == names:
        with pytest.raises(SecureflError, match="north"):
            Recorder(log(name="simulated"), Exchange(wire), names).begin()


def test_log_that_most_say_lost_entries_ends_the_run(ledgers, log):
    """Honest members are of one mind: a coordinator with an old log goes no further."""
    names = ("north", "south", "west")
    wire = Wire(ledgers, lambda name, said: said if name == "west" else changed(said, signed=99))
    with pytest.raises(LogError, match="has signed a log of 99 entries"):
        Recorder(log(), FailuresAsAbsence(wire), names).begin()


def read_ballots(data):
    return tuple(
        SignedBallot(member=one, ballot=said, signature=signature)
        for one, said, signature in msgpack.unpackb(data)
    )


class Rounds(Wire):
    """Members that record how rounds end, one after another, unless they are away."""

    away: frozenset = frozenset()

    def publish(self, party, message):
        asked, ledger = m.decode(message), self.ledgers[party]
        said = m.Absent() if party in self.away else self._ended(party, ledger, asked)
        self.waiting.append(Delivery(party, m.encode(said)))

    def _ended(self, party, ledger, asked):
        if isinstance(asked, m.Conclude):
            if asked.round > 1 and ledger.end_of_round(asked.round - 1) is None:
                return m.Failure(error="MessageError", text="the round before has not ended yet")
            model, transcript = asked.model.hex(), asked.transcript.hex()
            ledger.conclude(
                Outcome(
                    round=asked.round,
                    survivors=asked.survivors,
                    model_after=model,
                    transcript=transcript,
                    layout="00" * 32,
                )
            )
            vote = {"round": asked.round, "model": model, "rejected": False}
            ballots = () if party == "west" else read_ballots(asked.vote)
            ledger.record(Vote(ballots=ballots, **vote))
        return self._answer(ledger, asked)


def ended(number):
    """How a round ended, as the coordinator knows it."""
    ballot = SignedBallot(member="south", ballot="accept", signature=f"{number:0128x}")
    end = {"survivors": ("south", "west"), "model": bytes([number]) * 32, "transcript": b"t" * 32}
    return {"number": number, **end, "vote": packed_ballots([ballot])}


def ends_of(name, kept):
    events = [read_entry(data).entry for data in kept.entries()]
    ends = [e.event for e in events if e.member == name and e.event.kind == "outcome"]
    return [(end.round, end.model_after[:2]) for end in ends]


RIGHT = [(1, "01"), (2, "02"), (3, "03")]


@pytest.mark.parametrize("restarted", [False, True])
def test_ends_that_a_member_missed_are_made_up_for(restarted, ledgers, log):
    """Away for two rounds, it records three in the third; else it could record none any more.

    With each end it is shown the vote of that round, and not that of a member that leaves out
    the ballots of others.
    """
    kept, names = log(), ("north", "south", "west")
    wire = Rounds(ledgers, lambda name, said: said)
    recorder = Recorder(kept, FailuresAsAbsence(wire), names)
    recorder.begin()
    for number in (1, 2, 3):
        wire.away = frozenset({"north"} if number < 3 else ())
        if restarted and number == 3:
            recorder = Recorder(kept, FailuresAsAbsence(wire), names)
            for before in (1, 2):
                recorder.ended(**ended(before))
        recorder.conclude(names, proof=None, **ended(number))
    assert ends_of("north", kept) == RIGHT
    assert set(kept.heads()[-1].signatures) == set(names)


@pytest.mark.slow
def test_attack_wrong_ends_of_one_member_are_shown_to_none(ledgers, log):
    """South records wrong ends and votes, many times; after a restart north is asked the right."""
    kept, names = log(), ("north", "south", "west")
    wire = Rounds(ledgers, lambda name, said: said)
    recorder, liar = Recorder(kept, FailuresAsAbsence(wire), names), wire.ledgers["south"]
    lie = {"survivors": ("south",), "model_after": "ee" * 32, "transcript": "ee" * 32}
    for number in (1, 2) * 3:
        liar.record(Outcome(round=number, **lie))
        liar.record(Vote(round=number, model="ee" * 32, ballots=(), rejected=True))
    recorder.begin()
    wire.away = frozenset({"north", "south"})
    for number in (1, 2):
        recorder.conclude(names, proof=None, **ended(number))
    wire.away = frozenset({"south"})
    again = Recorder(kept, FailuresAsAbsence(wire), names)
    for before in (1, 2):
        again.ended(**ended(before))
    again.conclude(names, proof=None, **ended(3))
    assert ends_of("north", kept) == RIGHT
