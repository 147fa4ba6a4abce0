"""The coordinator's end between machines: requests to members, and their answers.

`JournalledTransport` knows of questions, time limits and the journal, and not of what carries them.

An answer is written to the journal before it is acknowledged, and acknowledged before it is acted
on. No decision compares the clocks of two machines: deadlines run on the coordinator's alone.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from securefl.federation import messages as m
from securefl.federation.transport.answer_sizes import SMALL_ANSWER, AnswerSizes
from securefl.federation.transport.base import DeadlineExceeded, Delivery, EngineError
from securefl.federation.transport.link import Link
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.model_cache import ModelHoldings, ModelNamer
from securefl.federation.transport.nats.batch import Batch, Question
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.early_answers import EarlyAnswers
from securefl.federation.transport.nats.journal import CoordinatorJournal, Event
from securefl.federation.transport.nats.quota import MOST_STRIKES, MOST_WASTED, Quota
from securefl.federation.transport.nats.subjects import (
    CHUNK_BYTES,
    LARGEST_MESSAGE,
    Layout,
)
from securefl.federation.transport.session_keys import RunKeys
from securefl.federation.transport.timeouts import TimeoutPolicy, kind_of

_log = logging.getLogger(__name__)
COORDINATOR_NAME = "coordinator"
_WHOLE = 1_000_000
"""Added to the number of a request that is sent again with its model."""
_COPIES = 4
"""Copies of the largest answer in a round that are no flood: of restarts, and of one that is late.
Each of their parts is a strike."""


@dataclass(frozen=True)
class Run:
    """One run of a consortium, as the engine sees it.

    Attributes:
        id: 32 bytes, identifies the run.
        layout: Its subjects.
        members: Names and public identity keys.
        coordinator: The coordinator's public identity key.
    """

    id: bytes
    layout: Layout
    members: Mapping[str, bytes]
    coordinator: bytes


class JournalledTransport(ABC):
    """A `Transport` between machines; a member that does not answer in time is `Absent`."""

    def __init__(
        self,
        link: Link,
        run: Run,
        keys: RunKeys,
        *,
        journal: CoordinatorJournal,
        timeouts: TimeoutPolicy,
        watch: LivenessTracker,
        sizes: AnswerSizes,
    ) -> None:
        """Start to listen to the members.

        Args:
            link: The coordinator's connection.
            run: The run.
            keys: The coordinator's key of the run, and those of the members.
            journal: Keeps the answers.
            timeouts: How long answers may take.
            watch: The liveness of the members.
            sizes: How large answers may be.
        """
        self._link, self._run, self._keys, self._sizes = link, run, keys, sizes
        self._journal, self._timeouts = journal, timeouts
        self.watch = watch
        self._section, self._number = 0, 0
        self._batch = Batch()
        self._ready: deque[Delivery] = deque()
        self._past: deque[Event] = deque()
        self._recorded: set[str] = set()
        self._lost_at: float | None = None
        self._looked: float | None = None
        self._renewed = threading.Event()
        self._holdings, self._namer = ModelHoldings(), ModelNamer()
        most = _COPIES * min(sizes.most(), LARGEST_MESSAGE)
        strikes = MOST_STRIKES + most // CHUNK_BYTES
        self._quotas = {name: Quota(name, strikes, MOST_WASTED + most) for name in run.members}
        self._early = EarlyAnswers(journal)
        self._listen()

    @abstractmethod
    def _listen(self) -> None:
        """Begin to listen to the members, each through its `_reader`."""

    @abstractmethod
    def _withdraw(self, party: str) -> None:
        """Delete the requests that a member has not read."""

    def _reader(self, name: str) -> Reassembler:
        """Return what opens a member's answers, and refuses what no question admits."""
        identity = self._run.members[name]
        return Reassembler(self._keys, name, identity, partial(self._largest, name))

    def _largest(self, party: str, answers: str) -> int:
        """Return the most bytes of an answer of a member, by the id of its question."""
        # Called by the connection's thread: a question is open before it is sent.
        question = self._batch.open.get(party)
        if question is not None and question.request == answers:
            return question.largest
        # Its question comes again: as large as any may be, since it is not known which it is.
        early = self._early.admits(party, answers, self._section)
        late = self._quotas[party].awaited(answers)
        return self._sizes.most() if early else max(late, SMALL_ANSWER)

    def readmit(self, party: str) -> bool:
        """Hear a member again that is cut off, and return whether it was."""
        return self._quotas[party].readmit()

    def begin_section(self, name: str) -> None:
        """Begin a part that a restart repeats as a whole, with the answers in the journal."""
        for quota in self._quotas.values():
            quota.begin_round()
        section = self._journal.section(name)
        self._early.enter(section)
        self._enter(section)

    def begin_passing(self) -> None:
        """Begin an idempotent part, which a restart asks the members again."""
        self._enter(self._journal.passing_section())

    def _enter(self, section: int) -> None:
        self._section, self._number = section, 0
        self._batch = Batch()
        self._past = deque(self._journal.events(section))
        self._recorded = {event.request for event in self._past}

    def publish(self, party: str, message: bytes) -> None:
        """See `Transport.publish`; a request with an answer in the journal is not sent again."""
        self._number += 1
        request = f"{self._journal.epoch}.{self._section}.{self._number}"
        now = time.monotonic()
        if not self._batch.open:
            self._batch, self._looked = Batch(), None
        limits = self._timeouts.limit(message), self._timeouts.last(message)
        self._batch.asked += 1
        question = Question(request, message, now, *limits, self._sizes.largest(message))
        self._batch.open[party] = question
        self._send(party, question, self._shortened(party, question))

    def _shortened(self, party: str, question: Question) -> bytes:
        """Return the request, with its model only named where the member may have it."""
        short = self._namer.named(question.message)
        if short is None:
            return question.message
        question.model = short[0]
        question.named = self._holdings.worth_naming(party, short[0])
        return short[1] if question.named else question.message

    def _send(self, party: str, question: Question, message: bytes) -> None:
        question.sealed_for = self._keys.of(party)
        # Without a key it cannot be sealed; `_send_to_newcomers` sends it later.
        if question.request in self._recorded or question.sealed_for is None:
            return
        note = Envelope(COORDINATOR_NAME, party, question.request, "", message)
        self._link.send(self._run.layout.to_member(party), note, self._keys)
        self.watch.asked(party, message)

    def _send_to_newcomers(self) -> None:
        """Send open requests to members with a new key, which could not read them before."""
        for party, question in self._batch.open.items():
            if question.sealed_for != self._keys.of(party):
                self._send(party, question, self._shortened(party, question))

    def _send_whole(self, party: str, question: Question) -> None:
        """Send a request again with its model, because the member does not have it."""
        self._holdings.lacked(party)
        epoch, section, number = question.request.split(".")
        question.request = f"{epoch}.{section}.{int(number) + _WHOLE}"
        question.named, question.whole = False, True
        self._batch.open[party] = question
        self._send(party, question, question.message)

    def receive(self, timeout: float | None = None) -> Delivery:
        """See `Transport.receive`."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._ready:
            if not self._batch.open:
                raise DeadlineExceeded("no answer is pending")
            if self._past:
                self._accept([self._past.popleft()])
            else:
                self._wait(until)
        return self._ready.popleft()

    def _wait(self, until: float | None) -> None:
        now = time.monotonic()
        if until is not None and now >= until:
            raise DeadlineExceeded("no member answered in time")
        self._count_standstill(now)
        late = self._late(now) if self._hears(now) else {}
        if late:
            self._give_up(late)
            return
        if self._renewed.is_set():
            # What the broker kept for the members is lost; who has answered already says it again.
            self._renewed.clear()
            for question in self._batch.open.values():
                question.sealed_for = None
        self._send_to_newcomers()
        self._take(self._arrivals())

    def _count_standstill(self, now: float) -> None:
        """Count the time in which this process was frozen, or its machine slept, for no member."""
        before, self._looked = self._looked, now
        if before is None or now - before < self._timeouts.frozen:
            return
        seconds = now - before
        _log.warning("this process stood still for %.0f s, which counts for no member", seconds)
        self._batch.postpone(seconds)
        self.watch.stood_still(seconds)

    def _hears(self, now: float) -> bool:
        """Return whether the broker brings messages; time without counts against no member."""
        if not (self._link.connected and self._link.stores):
            self._lost_at = now if self._lost_at is None else self._lost_at
            return False
        if self._lost_at is not None:
            missed, self._lost_at = now - self._lost_at, None
            self._batch.postpone(missed)
        return True

    def _arrivals(self) -> list[Arrival | Exception]:
        """Return all that has arrived, after waiting a tick for the first."""
        asked = {party: question.request for party, question in self._batch.open.items()}
        arrived: list[Arrival | Exception] = [*self._early.due(asked, self._recorded)]
        if arrived:
            return arrived
        with contextlib.suppress(queue.Empty):
            arrived.append(self._link.arrivals.get(timeout=self._timeouts.tick))
            while True:
                arrived.append(self._link.arrivals.get_nowait())
        return arrived

    def _late(self, now: float) -> dict[str, str]:
        cut_off = {name: quota.reason for name, quota in self._quotas.items() if quota.reason}
        return self._batch.late(now, self._timeouts, self.watch, self._run.members, cut_off)

    def _give_up(self, late: dict[str, str]) -> None:
        """Go on without these members, and delete the requests that they have not read."""
        for party, reason in late.items():
            _log.warning("%s: %s; the round goes on without it", party, reason)
            quota = self._quotas[party]
            question = self._batch.open[party]
            quota.given_up(question.request, question.largest)
            self._withdraw(party)
            self.watch.gone(party, reason, cut_off=bool(quota.reason))
        events = [Event(party, self._batch.open[party].request, None) for party in late]
        self._journal.record(self._section, events)
        self._accept(events)

    def _take(self, arrivals: list[Arrival | Exception]) -> None:
        """Write answers to the journal, acknowledge them, and act on them.

        In this order: a kill after the first step finds them in the journal, and one before it
        finds them on the broker. An answer that was acted on and then lost could be given
        differently the second time.
        """
        notes: dict[str, Envelope] = {}
        read: list[Arrival] = []
        for arrival in arrivals:
            if isinstance(arrival, Exception):
                raise arrival
            if self._early.keep(arrival, self._section):
                continue
            read.append(arrival)
            note = arrival.note
            question = self._batch.open.get(note.sender)
            if question is not None and note.answers == question.request:
                notes[note.sender] = note
                self._quotas[note.sender].used()
            elif self._quotas[note.sender].late(note.answers):
                self.watch.spoke(note.sender)
            else:
                why = f"{note.sender} answered what it was not asked"
                self._quotas[note.sender].strike(why, len(note.body))
        events = [Event(name, note.answers, note.body) for name, note in notes.items()]
        if events:
            self._journal.record(self._section, events)
        for arrival in read:
            arrival.acknowledge()
        self._accept(events)

    def _accept(self, events: list[Event]) -> None:
        for event in events:
            question = self._batch.open.pop(event.party, None)
            if question is None or question.request != event.request:
                raise EngineError("the journal does not match the run that it belongs to")
            # Once: who lacks what it was sent would be sent it without end.
            lacking = event.body is not None and kind_of(event.body) == "lacking"
            if lacking and not question.whole:
                self._send_whole(event.party, question)
                continue
            if event.body is not None and question.model is not None and not lacking:
                self._holdings.has(event.party, question.model, computed=question.named)
            body = m.encode(m.Absent()) if event.body is None else event.body
            self._batch.answered += event.body is not None
            self._ready.append(Delivery(event.party, body))
            if event.body is not None:
                self.watch.answered(event.party, len(event.body))
