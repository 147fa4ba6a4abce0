"""How much of a member the coordinator holds, counts and forgives, and members in another run."""

import asyncio
import logging
import time
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

pytest.importorskip("nats")

from securefl.federation import messages as m
from securefl.federation.messages.codec import AnyMessage
from securefl.federation.transport import session_keys
from securefl.federation.transport.answer_sizes import SMALL_ANSWER, AnswerSizes
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats import chunking, consumer
from securefl.federation.transport.nats.batch import Question
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.nats.consumer import Reader
from securefl.federation.transport.nats.early_answers import EarlyAnswers
from securefl.federation.transport.nats.heartbeats import BEAT, Heartbeats
from securefl.federation.transport.nats.part_errors import BadPartError
from securefl.federation.transport.nats.quota import (
    _MOST_RUNS,
    MOST_STRIKES,
    MOST_WASTED,
    Quota,
)
from securefl.federation.transport.nats.transport import NatsTransport
from securefl.federation.transport.session_keys import RunKeys
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.plan import SessionPlan

NORTH, HUB = SigningKey(b"1" * 32), SigningKey(b"2" * 32)
RUN, OTHER = b"2" * 32, b"1" * 32
CHUNK = SMALL_ANSWER // 4
ADMITTED = 3 * SMALL_ANSWER


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Of the coordinator in a run, of a member in it, and of that member in another run."""
    folder = tmp_path_factory.mktemp("keys")
    hub = RunKeys(folder / "hub", HUB, RUN, "coordinator")
    made = [RunKeys(folder / name, NORTH, run, "north") for name, run in (("x", RUN), ("y", OTHER))]
    for each in made:
        each.meet("coordinator", hub.own.public)
    yield SimpleNamespace(hub=hub, north=made[0], other=made[1])
    for each in (hub, *made):
        each.close()


class Watch(LivenessTracker):
    """Notes what it is told of a member."""

    def __init__(self):
        super().__init__()
        self.said = []

    def unusable(self, party, reason):
        self.said.append(reason)


class Beats:
    """The coordinator's ear, with as many heartbeats as a test wants."""

    def __init__(self, keys):
        self.quota, self.watch = Quota("north"), Watch()
        members, quotas = {"north": NORTH.public}, {"north": self.quota}
        self._ear = Heartbeats(keys.hub, members, self.watch, quotas)

    def hear(self, part, times=1, *, slowly=True):
        for _ in range(times):
            if slowly:
                self._ear._counts["north"] = (0.0, 0)
            self._ear.take("north", part)


def beat_of(keys):
    return next(Envelope("north", "coordinator", BEAT, "", b"waiting").parts(keys))


def test_a_member_in_another_run_is_named_and_not_cut_off(keys, caplog):
    """A member that was not restarted: for days it is one line, and the status says what to do."""
    ear = Beats(keys)
    for part in ((keys.other.headers, b""), beat_of(keys.other)):
        ear.hear(part, 4 * MOST_STRIKES)
    assert (ear.quota.strikes, ear.quota.reason) == (0, "")
    told = f"north is still in run {OTHER.hex()[:16]}: stop it, or restart it with the agreement"
    assert set(ear.watch.said) == {next(text for text in ear.watch.said if told in text)}
    assert [told in record.message for record in caplog.records] == [True]
    assert ear.watch.silence("north", 0.0) > time.monotonic() - 1  # no sign of life in this run
    ear.hear(beat_of(keys.north))
    assert ear.watch.said[-1] == ""
    assert ear.watch.silence("north", 0.0) < 1


def test_attack_one_other_run_after_another(keys, tmp_path, caplog):
    """They are named a few times, and hurry is struck as that of any heartbeat."""
    ear = Beats(keys)
    for number in range(3 * _MOST_RUNS):
        public, run = keys.north.own.public, bytes([number]) * 32
        signature = NORTH.sign(
            session_keys.ANNOUNCEMENT_LABEL, session_keys.announcement(run, "north", public)
        )
        named = {"Key": public.hex(), "Signature": signature.hex(), "Run": run.hex()}
        headers = {f"Securefl-{name}": text for name, text in named.items()}
        ear.hear((headers, b""))
    assert (ear.quota.strikes, len(caplog.records)) == (0, _MOST_RUNS)
    ear.hear((headers, b""), MOST_STRIKES + 200, slowly=False)
    assert "heartbeats without end" in ear.quota.reason


def test_a_key_of_another_run_needs_its_signature(keys):
    """Else whoever writes there could have a member named."""
    ear, headers = Beats(keys), dict(keys.other.headers)
    headers["Securefl-Run"] = (b"3" * 32).hex()
    ear.hear((headers, b""))
    assert (ear.quota.strikes, ear.watch.said) == (1, [])


def reader_of(keys, quota, sender=None, **more):
    sender = sender or Reassembler(keys.hub, "north", NORTH.public)
    done = []
    link = SimpleNamespace(
        faults=StandingFaults(),
        claim=lambda message: False,
        acknowledger=lambda messages: lambda: done.extend(messages),
    )
    return Reader(link, "subject", sender, quota, **more), done


def stored(part, number=1):
    metadata = SimpleNamespace(sequence=SimpleNamespace(stream=number))
    return SimpleNamespace(reply="$JS.ACK", headers=part[0], data=part[1], metadata=metadata)


@pytest.fixture
def pauses(monkeypatch):
    """Seconds that a reader sleeps; none of them passes."""
    slept = []
    true = asyncio.sleep

    async def sleep(seconds):
        slept.append(seconds)
        await true(0)

    monkeypatch.setattr(consumer.asyncio, "sleep", sleep)
    return slept


def test_an_answer_of_another_run_is_deleted_and_no_strike(keys, pauses):
    """It waits on the broker from the run before; a pull with some is followed by a rest."""
    quota = Quota("north")
    reader, done = reader_of(keys, quota)
    left = Envelope("north", "coordinator", "x", "9.9.9", bytes(100))

    async def play():
        for _ in range(2 * MOST_STRIKES):
            await reader._take(stored(next(left.parts(keys.other))))
        await reader._until_admitted()
        await reader._until_admitted()

    asyncio.run(play())
    assert (quota.strikes, quota.wasted, len(done)) == (0, 0, 2 * MOST_STRIKES)
    assert pauses == [consumer._REST]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(chunking, "CHUNK_BYTES", CHUNK)


def answer(keys, size, question="q", name="x"):
    return list(Envelope("north", "coordinator", name, question, bytes(size)).parts(keys.north))


def listening(keys, question="q"):
    return Reassembler(
        keys.hub,
        "north",
        NORTH.public,
        lambda answers: ADMITTED if answers == question else SMALL_ANSWER,
    )


@pytest.mark.parametrize(
    ("size", "question"), [(ADMITTED, "q"), (SMALL_ANSWER, "another"), (0, "q")]
)
def test_an_answer_as_large_as_admitted(keys, small_parts, size, question):
    listener = listening(keys)
    notes = [listener.add(*part) for part in answer(keys, size, question)]
    assert [len(note.body) for note in notes if note] == [size]


@pytest.mark.parametrize(
    ("size", "question"),
    [(ADMITTED + 1, "q"), (8 * ADMITTED, "q"), (ADMITTED, "another"), (SMALL_ANSWER + 1, "")],
)
def test_attack_answer_larger_than_admitted(keys, small_parts, monkeypatch, size, question):
    """Refused by what its parts say, before one of them is opened, or at the part too many."""
    listener, opened = listening(keys), []
    unseal = chunking.unseal
    monkeypatch.setattr(chunking, "unseal", lambda *args: opened.append(1) or unseal(*args))
    parts, most = answer(keys, size, question), ADMITTED if question == "q" else SMALL_ANSWER
    refused = 0
    for part in parts:
        try:
            assert listener.add(*part) is None
        except BadPartError as error:
            refused += f"more than the {most} bytes" in str(error)
        assert sum(kept.size() for kept in listener._open.values()) <= most
    assert refused == len(parts)
    assert not opened


def test_attack_parts_longer_than_parts(keys, monkeypatch):
    """So few that they look admitted: their bytes count, and not their number."""
    monkeypatch.setattr(chunking, "CHUNK_BYTES", ADMITTED)
    long = answer(keys, 3 * ADMITTED)
    monkeypatch.setattr(chunking, "CHUNK_BYTES", CHUNK)
    listener = listening(keys)
    assert listener.add(*long[0]) is None
    with pytest.raises(BadPartError, match="more than"):
        listener.add(*long[1])
    assert not listener._open


def test_an_answer_that_was_given_up_is_not_held(keys, small_parts):
    """Half of it is here when its question is given up: the broker need not keep it either."""
    open_, quota = {"q"}, Quota("north")
    listener = Reassembler(
        keys.hub, "north", NORTH.public, lambda id_: ADMITTED if id_ in open_ else SMALL_ANSWER
    )
    reader, done = reader_of(keys, quota, listener)
    first, *later = answer(keys, ADMITTED)
    asyncio.run(reader._take(stored(first, 1)))
    assert (len(reader._parts), len(listener._open), done) == (1, 1, [])
    open_.clear()
    asyncio.run(reader._take(stored(later[0], 2)))
    assert (len(reader._parts), len(listener._open)) == (0, 0)
    assert [message.metadata.sequence.stream for message in done] == [1, 2]
    assert (quota.strikes, quota.wasted) == (1, CHUNK + 16)


def test_attack_answers_again_and_again(keys, small_parts):
    """One of them is the answer; seven more of that size would wait beside it."""
    listener, whole = listening(keys), 0
    for number in range(8):
        for part in answer(keys, ADMITTED, name=f"x{number}"):
            try:
                whole += listener.add(*part) is not None
            except BadPartError:
                assert number
    assert whole == 1


def test_incomplete_answers_are_no_more_than_one(keys, small_parts):
    """Those of earlier attempts make room; nothing of them is held beside the newest."""
    listener = listening(keys)
    for number in range(6):
        for part in answer(keys, ADMITTED, name=f"x{number}")[:-1]:
            assert listener.add(*part) is None
            assert sum(kept.size() for kept in listener._open.values()) <= ADMITTED


QUESTIONS = {
    "train": m.Train(round=1, shared=b""),
    "train-masked": m.TrainMasked(round=1, shared=b"", cohort=(), session=1),
    "protocol": m.Protocol(round=1, payload=b""),
    "score-protocol": m.ScoreProtocol(round=1, payload=b""),
    "begin": m.StartRun(since=0),
    "leave": m.Shutdown(),
}


def sizes(dimension=1000, members=40, rounds=10):
    return AnswerSizes(dimension, dimension, members, rounds)


def largest(question, **more):
    return sizes(**more).largest(m.encode(QUESTIONS[question]))


@pytest.mark.parametrize(
    ("members", "layered"), [(3, False), (3, True), (40, False), (40, True), (300, False)]
)
def test_every_message_of_a_session_is_admitted(members, layered):
    for dimension in (1, 100_000):
        plan = SessionPlan.for_cohort(
            members=members,
            dimension=dimension,
            ring=RingDtype.UINT64,
            largest_input=1,
            terms=bytes(32),
            layered=layered,
        )
        message = m.encode(m.Protocol(round=1, payload=bytes(plan.largest_message)))
        for question in ("train-masked", "protocol"):
            assert len(message) <= largest(question, dimension=dimension, members=members)
    scores = m.encode(m.ScoreProtocol(round=1, payload=bytes(8 * 1000)))
    assert len(scores) <= largest("score-protocol", members=members)


def test_every_update_is_admitted_and_no_larger_one():
    update = m.Update(round=1, samples=1, change=bytes(4 * 1_000_000), loss=0.0)
    assert len(m.encode(update)) <= largest("train", dimension=1_000_000)
    twice = m.Update(round=1, samples=1, change=bytes(8 * 1_000_000), loss=0.0)
    assert len(m.encode(twice)) > largest("train", dimension=1_000_000)


def test_what_is_in_no_table_is_small():
    """Of a kind that does not exist, of one without results, and of what is no message."""
    for question in (m.encode(m.Shutdown()), b"\x81\xa4kind\xa3new", b"", b"\xc1"):
        assert sizes().largest(question) == SMALL_ANSWER


def test_the_table_has_kinds_that_exist():
    kinds = {kind.model_fields["kind"].default for kind in AnyMessage.__args__}
    assert sizes()._table().keys() <= kinds


def test_only_the_open_question_admits_more():
    """Not one that was given up, nor that of another member; one that comes again does."""
    transport = NatsTransport.__new__(NatsTransport)
    transport._section, transport._sizes = 1, SimpleNamespace(most=lambda: 7 * ADMITTED)
    transport._early = SimpleNamespace(admits=lambda party, answers, present: answers == "e.2.1")
    question = Question("e.1.1", b"", 0.0, 1.0, 1.0, ADMITTED)
    transport._batch = SimpleNamespace(open={"north": question})
    transport._quotas = {name: Quota(name) for name in ("north", "south")}
    admitted = [
        transport._largest(*asked)
        for asked in (("north", "e.1.1"), ("north", "e.1.2"), ("north", ""), ("south", "e.1.1"))
    ]
    assert admitted == [ADMITTED, SMALL_ANSWER, SMALL_ANSWER, SMALL_ANSWER]
    assert transport._largest("north", "e.2.1") == 7 * ADMITTED


def test_attack_many_large_answers_after_a_restart():
    """Before its question comes again an answer may be large: one of each member, in a section."""
    journal = SimpleNamespace(epoch="e", repeats=lambda section: section in {2, 3})
    early = EarlyAnswers(journal)
    ids = [f"e.2.{number}" for number in range(1, 9)]
    assert [early.admits("north", answers, 1) for answers in ids] == [True] + 7 * [False]
    assert early.admits("north", "e.2.1", 1)  # its next part
    assert early.admits("south", "e.2.2", 1)
    assert not early.admits("north", "other.2.1", 1)
    early.enter(2)
    assert not early.admits("north", "e.3.1", 2)  # in a section that is repeated, none is early
    assert early.admits("north", "e.3.1", 4)


def test_attack_large_useless_messages_between_useful_ones():
    """A useful answer clears the count, and the bytes only another round."""
    quota, size = Quota("north"), MOST_WASTED // 8
    for _ in range(2):
        for _ in range(8):
            quota.strike("a copy", size)
            quota.used()
        assert not quota.reason
        quota.begin_round()
    for _ in range(9):
        quota.strike("a copy", size)
        quota.used()
    assert "north is cut off" in quota.reason
    assert "75.5 MB in this round" in quota.reason


def test_an_answer_that_is_late_is_no_flood():
    """It was asked for, and given up: it is admitted as large as it may be, and is no strike."""
    transport = NatsTransport.__new__(NatsTransport)
    quota, open_ = Quota("north"), SimpleNamespace(request="e.1.1", largest=ADMITTED)
    transport._quotas, transport._batch = {"north": quota}, SimpleNamespace(open={"north": open_})
    transport._early = SimpleNamespace(admits=lambda *_: False)
    transport._section, transport._sizes = 1, None
    quota.given_up("e.1.1", ADMITTED)
    transport._batch.open = {}
    assert transport._largest("north", "e.1.1") == ADMITTED
    assert transport._largest("north", "e.1.2") == SMALL_ANSWER
    assert [quota.late("e.1.1") for _ in range(2)] == [True, False]


def test_attack_bytes_in_the_place_of_answers_given_up():
    """Each question that was not answered let the member waste as much as its answer had."""
    quota = Quota("north")
    for number in range(100):
        quota.given_up(f"e.1.{number}", MOST_WASTED)
    quota.strike("junk", MOST_WASTED + 1)
    assert "north is cut off" in quota.reason
    assert not quota.late("e.1.0")  # a bounded number is remembered
    assert quota.late("e.1.99")


def test_a_member_that_is_cut_off_comes_back(keys, pauses, caplog):
    """After ten minutes, the second time after twenty; what waited of its flood is deleted."""
    now, purged = [0.0], []

    async def purge():
        purged.append(now[0])

    quota = Quota("north", most=3, clock=lambda: now[0])
    reader, done = reader_of(keys, quota, purge=purge)
    reader._parts = {("x",): {0: "part"}}
    for _ in range(4):
        quota.strike("junk", 1000)
    assert "cut off for 10 min after 4 useless messages, 0.0 MB" in quota.reason
    assert "restart the coordinator, which loses nothing" in quota.reason

    async def play():
        waiting = asyncio.ensure_future(reader._until_admitted())
        for at in (1.0, 599.0):
            now[0] = at
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
        now[0] = 600.0
        await waiting

    asyncio.run(play())
    assert (purged, done, reader._parts) == ([600.0], ["part"], {})
    assert (quota.strikes, quota.wasted, quota.reason) == (0, 0, "")
    assert "north is cut off no longer" in caplog.text
    for _ in range(4):
        quota.strike("junk")
    assert "cut off for 20 min" in quota.reason
    now[0] += 1199.0
    assert quota.reason
    now[0] += 1.0
    assert not quota.reason


def test_a_cut_off_lasts_a_day_at_most(caplog):
    caplog.set_level(logging.CRITICAL)
    now = [0.0]
    quota = Quota("north", most=0, clock=lambda: now[0])
    for _ in range(20):
        quota.strike("junk")
        assert quota.reason
        now[0] += 86400.0
        assert not quota.reason


def test_early_answer_that_comes_again_takes_the_place():
    """The last one is kept alone; each before it is acknowledged, or it would hold a place."""
    journal = SimpleNamespace(epoch="e", repeats=lambda section: section == 5)
    early, read = EarlyAnswers(journal), []
    for copy in range(20):
        note = Envelope("north", "coordinator", f"x{copy}", "e.5.1", b"said")
        assert early.keep(consumer.Arrival(note, lambda copy=copy: read.append(copy)), present=1)
    (last,) = early.due({"north": "e.5.1"}, ())
    assert last.note.id == "x19"
    assert read == list(range(19))


@pytest.mark.parametrize(("senders", "parts"), [(1, 8), (3, 2), (100, 1)])
def test_parts_on_the_way_are_no_more_than_a_broker_buffers(keys, senders, parts):
    """Of all senders together: else it ends a connection that is slower than its disk."""
    link = SimpleNamespace(readers=[])
    link.readers += [Reader(link, "subject", None, Quota("north")) for _ in range(senders)]
    assert [link.readers[0]._next_batch() for _ in range(2)] == [1, parts]


def test_part_in_the_place_of_one_of_a_lost_stream_is_heard():
    """A stream that is made anew counts from 1 again."""
    link = NatsClient.__new__(NatsClient)
    link._claimed = {}

    def part(second):
        sequence = SimpleNamespace(stream=7)
        stored = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
        return SimpleNamespace(
            metadata=SimpleNamespace(stream="up", sequence=sequence, timestamp=stored)
        )

    assert [link.claim(part(second)) for second in (1, 1, 2, 2)] == [False, True, False, True]


@pytest.mark.parametrize("public", [bytes(32), b"\xff" * 32, b"\7" * 31, b""])
def test_attack_announced_key_that_is_none_is_struck(keys, tmp_path, public):
    """Else the coordinator would fail where it seals for it, and at every start again."""
    with closing(RunKeys(tmp_path, HUB, RUN, "coordinator")) as hub:
        beats = Beats(SimpleNamespace(hub=hub))
        signed = NORTH.sign(
            session_keys.ANNOUNCEMENT_LABEL, session_keys.announcement(RUN, "north", public)
        )
        spelt = public.hex(), signed.hex(), RUN.hex()
        names = session_keys.KEY_HEADER, session_keys.SIGNATURE_HEADER, session_keys.RUN_HEADER
        beats.hear((dict(zip(names, spelt, strict=True)), b""))
        assert (hub.of("north"), beats.quota.strikes) == (None, 1)
        beats.hear((keys.north.headers, b""))
        assert hub.of("north") == keys.north.own.public
