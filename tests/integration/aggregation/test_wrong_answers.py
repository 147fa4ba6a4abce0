"""One member's wrong answer costs that member the round, and never the others their run."""

import math
import queue
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from securefl.federation import messages as m
from securefl.federation.aggregation.fedavg import PlainAggregator
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.coordinator.fault_tolerant import FaultTolerantExchange
from securefl.federation.coordinator.scores import ScoresInClear
from securefl.federation.services import member_process
from securefl.federation.services.coordinator import NetworkHooks
from securefl.federation.transport.answer_sizes import AnswerSizes
from securefl.federation.transport.base import Delivery
from securefl.federation.transport.exchange import Exchange, MemberFailedError, MemberInputError
from securefl.federation.transport.journalled import Run
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.chunking import Envelope
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.journal import CoordinatorJournal
from securefl.federation.transport.nats.subjects import Layout
from securefl.federation.transport.nats.transport import NatsTransport
from securefl.federation.transport.timeouts import TimeoutPolicy
from securefl.ml.metrics.spec import MetricSpec
from support.masked_federation import MaskedFederation

WRONG = "retailer-1"
NO_MESSAGE = {
    "garbage": b"\xc1\xff",
    "unfinished": m.encode(m.Done())[:-1],
    "a map without end": b"\xdf\xff\xff\xff\xff",
    "nothing": b"",
    "unknown kind": b"\x81\xa4kind\xa3odd",
    "of the ledger": m.encode(m.Countersigned(signature=b"x" * 64)),
}


@pytest.fixture
def federation(tmp_path):
    made = MaskedFederation(tmp_path / "members")
    yield made
    for member in made.wire.members.values():
        member.close()


@pytest.mark.parametrize("body", NO_MESSAGE.values(), ids=NO_MESSAGE)
def test_answer_that_is_no_message_costs_its_sender(federation, body):
    """In the masked sum: the others have theirs."""
    publish = federation.wire.publish

    def spoiled(party, message):
        publish(party, message)
        if party == WRONG:
            federation.wire.waiting[-1] = Delivery(party, body)

    federation.wire.publish = spoiled
    exchange = FaultTolerantExchange(federation.wire)
    names = federation.names
    result = federation.aggregator.masked_sum(exchange, 1, federation.models[1], names)
    assert result.survivors == tuple(name for name in names if name != WRONG)
    reason = exchange.why_left_out(WRONG, 1)
    assert reason.startswith(("failed: malformed message", "gave no valid answer"))


class JournalledCoordinator:
    """The coordinator's transport and journal as they are; the connection alone is not there."""

    def __init__(self, federation, folder):
        self.federation, self.spoiled = federation, True
        self.link = MagicMock(
            connected=True, arrivals=queue.Queue(), run=lambda job, *_: job.close()
        )
        self.link.round_trip.return_value = 0.0
        self.link.spawn = lambda job: job.close()
        self.link.send = self._send
        keys = SimpleNamespace(of=lambda party: b"key", meet=None)
        names = dict.fromkeys(federation.names, bytes(32))
        self.run = Run(bytes(32), Layout("x"), names, b"")
        self.journal = CoordinatorJournal(folder)
        self.transport = NatsTransport(
            self.link,
            self.run,
            keys,
            journal=self.journal,
            timeouts=TimeoutPolicy(),
            watch=LivenessTracker(),
            sizes=AnswerSizes(1000, 1000, len(names), 3),
        )

    def _send(self, subject, note, keys):
        del keys
        members = self.federation.wire.members
        name = next(name for name in members if self.run.layout.to_member(name) == subject)
        (body,) = members[name].handle(note.body)
        if name == WRONG and self.spoiled:
            body = b"\xc1 no message"
        answer = Envelope(name, "coordinator", "a", note.id, body)
        self.link.arrivals.put(Arrival(answer, lambda: None))

    def round(self):
        hooks = NetworkHooks(self.transport, self.journal, MagicMock(), 3)
        hooks.begin_round(1)
        aggregator, exchange = (
            SecureAggregator(self.federation.consortium),
            FaultTolerantExchange(self.transport),
        )
        return hooks.attempt(
            1,
            lambda: aggregator.masked_sum(
                exchange, 1, self.federation.models[1], self.federation.names
            ),
        )


def test_journal_with_a_spoiled_answer_serves_a_restart(federation, tmp_path):
    """It is written before it is read, and so it is read again at every start."""
    found = []
    for start in range(2):
        coordinator = JournalledCoordinator(federation, tmp_path / "coordinator")
        coordinator.spoiled = start == 0
        found.append(coordinator.round())
        coordinator.journal.close()
    assert found[0].survivors == found[1].survivors == ("retailer-0", *federation.names[2:])
    assert np.array_equal(found[0].total, found[1].total)


def test_run_that_stops_at_its_checksums_releases_members(federation, tmp_path):
    """They would wait for a next round without end; each is given the reason."""
    coordinator, heard = JournalledCoordinator(federation, tmp_path / "coordinator"), {}
    coordinator.spoiled = False

    def down(subject, note, keys):
        del keys
        for name in federation.names:
            if coordinator.run.layout.to_member(name) == subject:
                heard[name] = m.decode(note.body)
                answer = Envelope(name, "coordinator", "a", note.id, m.encode(m.Done()))
                coordinator.link.arrivals.put(Arrival(answer, lambda: None))

    coordinator.link.send = down
    hooks = NetworkHooks(coordinator.transport, coordinator.journal, MagicMock(), 3)
    exchange = FaultTolerantExchange(coordinator.transport)
    hooks.stopped(SimpleNamespace(exchange=exchange, members=federation.names), "failed 4 times")
    assert heard == dict.fromkeys(federation.names, m.Shutdown(reason="failed 4 times"))
    assert member_process._reason_in(m.encode(heard[WRONG])) == "failed 4 times"
    coordinator.journal.close()


class Saying:
    """A transport whose members give one answer each."""

    def __init__(self, answers):
        self.answers, self.waiting = answers, []

    def publish(self, party, message):
        del message
        self.waiting.append(Delivery(party, m.encode(self.answers[party])))

    def receive(self, timeout=None):
        del timeout
        return self.waiting.pop(0)


def update(**changes):
    fields = {"round": 1, "samples": 2, "change": m.pack_vector(np.ones(3, np.float32))}
    return m.Update(**(fields | {"loss": 0.5} | changes))


WRONG_UPDATES = {
    "shorter": update(change=bytes(8)),
    "odd length": update(change=bytes(11)),
    "not a number": update(change=m.pack_vector(np.full(3, np.nan, np.float32))),
    "infinite": update(change=m.pack_vector(np.full(3, np.inf, np.float32))),
    "loss": update(loss=math.nan),
    "loss beyond range": update(loss=1e308, samples=2**64 - 1),
    "another round": update(round=2),
    "another kind": m.Done(),
    "failure": m.Failure(error="InputError", text="x"),
}


@pytest.mark.parametrize("wrong", WRONG_UPDATES.values(), ids=WRONG_UPDATES)
def test_wrong_update_in_the_clear_costs_its_sender(wrong):
    names, shared = ("a", "b", "c"), np.zeros(3, np.float32)
    wire = Saying({"a": update(), "b": wrong, "c": update()})
    exchange = FaultTolerantExchange(wire)
    result = PlainAggregator().aggregate(exchange, 1, shared, names)
    assert result.survivors == ("a", "c")
    assert result.change.tolist() == [1.0, 1.0, 1.0]
    assert exchange.why_left_out("b", 1).startswith("failed: ")
    with pytest.raises(Exception, match=r"b |malformed"):
        PlainAggregator().aggregate(Exchange(wire), 1, shared, names)


def test_one_refusal_while_others_are_away_ends_no_run():
    """It was taken for all members' refusal, which no other try changes."""
    refusal = m.Refused(round=1, reason="cap", text="x")
    for others, error in ((m.Absent(), MemberFailedError), (refusal, MemberInputError)):
        exchange = FaultTolerantExchange(Saying({"a": refusal, "b": others, "c": others}))
        with pytest.raises(MemberFailedError) as raised:
            PlainAggregator().aggregate(exchange, 1, np.zeros(3, np.float32), ("a", "b", "c"))
        assert type(raised.value) is error


METRICS = (MetricSpec("rmse", higher_is_better=False, root=True),)


def scores(name, metric="rmse", numerator=4.0, denominator=1.0, root=True):
    return m.Scores(tallies={name: {metric: (numerator, denominator, root)}})


WRONG_SCORES = {
    "of another": scores("a"),
    "of none": m.Scores(tallies={}),
    "of more": m.Scores(tallies=scores("a").tallies | scores("b").tallies),
    "another metric": scores("b", metric="x"),
    "no root": scores("b", root=False),
    "root of less than nothing": scores("b", numerator=-1.0),
    "fewer cases than none": scores("b", denominator=-1.0),
    "not a number": scores("b", numerator=math.nan),
    "infinite": scores("b", denominator=math.inf),
    "beyond range": scores("b", numerator=1.7e308),
}


@pytest.mark.parametrize("wrong", WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_wrong_scores_in_the_clear_cost_their_sender(wrong):
    exchange = FaultTolerantExchange(Saying({"a": scores("a"), "b": wrong, "c": scores("c")}))
    source = ScoresInClear(exchange, metrics=METRICS)
    assert source.validation("abc", 1, np.zeros(3, np.float32)).metrics == {"rmse": 2.0}
    assert exchange.why_left_out("b", 1).startswith("failed: b sent scores")


def test_scores_of_no_member_are_named_as_such():
    exchange = FaultTolerantExchange(Saying({"a": m.Scores(tallies={})}))
    with pytest.raises(MemberFailedError, match="no member sent scores"):
        ScoresInClear(exchange, metrics=METRICS).validation("a", 1, np.zeros(3, np.float32))


ACCOUNT = {
    "epsilon": 1.0,
    "noise_multiplier": 1.0,
    "clip_norm": 1.0,
    "sampling_rate": 0.5,
    "steps": 3,
    "customer_epsilon": None,
    "two_retailers_epsilon": None,
    "life": 1.0,
    "cap": None,
    "cap_delta": None,
    "score_noise": None,
}


@pytest.mark.parametrize("field", [name for name in ACCOUNT if name != "steps"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0])
def test_account_that_cannot_be_is_no_message(field, odd):
    """It would stand in the run's record as the largest epsilon, or make it unreadable."""
    assert m.decode(m.encode(m.BudgetResponse(**ACCOUNT))).epsilon == 1.0
    odd_account = m.BudgetResponse.model_construct(kind="spent", **(ACCOUNT | {field: odd}))
    with pytest.raises(m.MessageError):
        m.decode(m.encode(odd_account))
