"""The process of a member: read requests, answer them, and survive being killed."""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgpack

from securefl.consortium.ledger.journal_fence import JournalFence
from securefl.errors import SecureflError, unwritten
from securefl.federation import messages as m
from securefl.federation.member.journal import MemberJournal, Question
from securefl.federation.member.replying import INTERNAL_ERROR, where
from securefl.federation.services.durable_writes import (
    DurableMember,
    JournalMemory,
    insist,
    raise_if_of_a_disk,
)
from securefl.federation.services.member_presence import Presence
from securefl.federation.services.member_status import MemberWatch
from securefl.federation.transport.journalled import COORDINATOR_NAME, Run
from securefl.federation.transport.link import Link
from securefl.federation.transport.model_cache import Models
from securefl.federation.transport.nats.chunking import Envelope
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.subjects import token
from securefl.federation.transport.session_keys import RunKeys
from securefl.federation.transport.timeouts import kind_of
from securefl.untrusted.text import one_line
from securefl_protocols.primitives.entropy import DeterministicEntropy

ResultT = TypeVar("ResultT")
_CHARGED = frozenset(("train", "train-masked"))
"""Requests that may be charged before they write."""
_BEGINNING = "beginning"
"""The name of the state that a member began with, until there is a snapshot."""
_log = logging.getLogger(__name__)
_ROOM = 1 << 20
"""Bytes that a disk has to take before an answer is tried again; behind it, some models."""


class QuestionEntropy:
    """The randomness of an answer, from the seed in the journal with its request.

    An answer that is computed again after a restart is the same bytes in this way: a second, other
    answer would reuse masks or be a second release.
    """

    def __init__(self) -> None:
        self._stream = DeterministicEntropy(os.urandom(32))

    def begin(self, seed: bytes) -> None:
        """Draw from a request's own seed from here on."""
        self._stream = DeterministicEntropy(seed)

    def __call__(self, length: int) -> bytes:
        """Return the next bytes."""
        return self._stream(length)


@dataclass(frozen=True)
class MemberEnd:
    """A member's end of the connection, with its durable state.

    Attributes:
        name: The member's name.
        keys: Its key of the run, and the coordinator's.
        run: The run.
        link: Its connection.
        journal: Its journal.
        entropy: The source of its session's randomness.
        memory: Keeps its trainings.
        fence: The head of its journal, in its ledger.
        watch: Hears of its steps.
    """

    name: str
    keys: RunKeys = field(repr=False)
    run: Run
    link: Link
    journal: MemberJournal
    entropy: QuestionEntropy
    memory: JournalMemory
    fence: JournalFence
    watch: MemberWatch = field(default_factory=MemberWatch)


def _reason_in(release: bytes) -> str:
    """Return why the run stopped, from the message that releases a member."""
    message = m.decode(release)
    return message.reason if isinstance(message, m.Shutdown) else ""


class MemberProcess:
    """The loop that answers requests one at a time, each once, until the member is released.

    A disk that takes nothing in the middle of an answer is to the member what a kill at that moment
    is: it goes back to what its journal has, and answers again once it can write. Otherwise its
    memory would be ahead of its journal, and a restart would find another member.
    """

    def __init__(
        self, end: MemberEnd, member: DurableMember, presence: Presence | None = None
    ) -> None:
        """Restore the member from its journal.

        Args:
            end: Its connection and durable state.
            member: The member, newly built.
            presence: Its presence on the network; one that begins with `serve` if not given.

        Raises:
            RunDirectoryError: If the journal is damaged or of another key.
            StaleStateError: If it is an old copy of the journal, or of the ledger.
            UnwrittenError: If the disk takes nothing.
        """
        self._end, self._member, self._again = end, member, False
        self._presence = presence or Presence(end.name, end.keys, end.run, end.link, end.watch)
        end.memory.insist = self._insist
        if end.journal.empty:
            end.fence.adopt(end.journal.head)
            # Kept, as a restart before the first snapshot finds a journal that is not empty.
            member.begin_after_loss()
            end.journal.keep(_BEGINNING, member.state())
        self._recover(member)

    @property
    def member(self) -> DurableMember:
        """The member, which is another object after each disk that failed."""
        return self._member

    def _recover(self, member: DurableMember) -> None:
        """Bring a member that has answered nothing to where the journal is."""
        end, self._member = self._end, member
        end.fence.advance(end.journal.previous, end.journal.head)
        self._last: Envelope | None = None
        self._released, self._stopped = False, ""
        self._models = Models(member.following)
        end.memory.newest = None
        if (kept := end.journal.recall("snapshot")) is not None:
            self._restore(kept)
        elif (begun := end.journal.recall(_BEGINNING)) is not None:
            member.restore(begun)
        self._replay(list(end.journal.questions()))

    def _replay(self, questions: list[Question]) -> None:
        """Answer the requests since the snapshot again."""
        # All answers but the last were complete, so their side effects are in the ledger already;
        # how far the last one came is unknown.
        for place, question in enumerate(questions, 1):
            again = self._end.memory.replaying = place < len(questions)
            if again and kind_of(question.body) == "save":
                # One that succeeded erased itself, with all before it: this one was refused. It
                # may pass by now, as the ledger has the later rounds, and would erase the rest.
                reply = self._failure(question.id, m.MessageError.wire_name, "was refused before")
                self._last = self._note(question.id, reply)
                continue
            if not again and kind_of(question.body) in _CHARGED:
                # Nor is each restart charged that finds the disk full still.
                self._end.journal.try_room(self._room_for(question))
            self._last = self._answer(question)
        self._end.memory.replaying = False

    def _restore(self, kept: bytes) -> None:
        """Take up a snapshot: the member's state, and the answer to the request that it was of."""
        fields = msgpack.unpackb(kept)
        self._released, self._stopped = fields["released"], fields.get("stopped", "")
        self._end.memory.newest = fields.get("newest")
        if not self._released:
            self._member.restore(fields["state"])
        self._last = self._note(fields["question"], fields["reply"])

    def serve(self) -> None:
        """Answer until the run is over.

        Raises:
            EngineError: If the connection cannot go on.
            SecureflError: If the coordinator stopped the run before its end.
        """
        end = self._end
        self._presence.appear()
        self._now("waiting")
        if self._last is not None:
            self._send(self._last)
        while not self._released:
            try:
                arrival = end.link.arrivals.get(timeout=1.0)
            except queue.Empty:
                continue
            if isinstance(arrival, Exception):
                raise arrival
            self._serve(arrival)
            self._presence.served(arrival.note.id)
        if end.link.flush():
            end.keys.erase()
        end.watch.left(self._stopped)
        if self._stopped:
            raise SecureflError(f"the coordinator stopped the run: {one_line(self._stopped)}")

    def _serve(self, arrival: Arrival) -> None:
        note = arrival.note
        try:
            heard = self._end.journal.heard(note.id)
        except ValueError:
            _log.warning("a question without a proper id is dropped")
            arrival.acknowledge()
            return
        # A repeated request is never answered anew. The last answer may have been lost, and is sent
        # again; of older ones the coordinator has the answers, or it would not have gone on.
        if heard:
            arrival.acknowledge()
            if self._last is not None and self._last.answers == note.id:
                self._send(self._last)
            return
        try:
            # Checked whole before it is kept: what the journal has is answered at every restart.
            body = self._models.lasting(note.body)
        except m.MessageError as error:
            arrival.acknowledge()
            self._send(self._note(note.id, self._failure(note.id, error.wire_name, str(error))))
            return
        question = self._insist(lambda: self._end.journal.add(note.id, body))
        # Before the answer: where another process has a copy of the journal, one of the two stops.
        self._insist(lambda: self._end.fence.advance(question.before, question.head))
        # Acknowledged once it is in the journal, and before it is answered: a kill after this line
        # repeats the answer from the journal, with the same entropy.
        arrival.acknowledge()
        try:
            self._last = self._answer(question)
        except Exception as error:
            if not unwritten(error):
                raise
            _log.warning("the disk took nothing in the middle of an answer: %s", error)
            room = self._room_for(question)
            self._insist(lambda: self._answer_again(room))
        assert self._last is not None
        self._send(self._last)

    def _room_for(self, question: Question) -> int:
        """Return how many bytes a round may write; a model that is only named counts as well."""
        model = len(self._models.whole(question.body) or question.body)
        return _ROOM + 4 * model + self._member.vote_room

    def _answer_again(self, room: int) -> None:
        """Go back to what the journal has, and answer its last request again, with so much room."""
        # A private round is charged before it is trained: with no room for what it writes then,
        # each try would be charged.
        self._end.journal.try_room(room)
        self._again = True
        try:
            self._recover(self._member.anew())
        finally:
            self._again = False

    def _insist(self, write: Callable[[], ResultT]) -> ResultT:
        """Write to journal or ledger; wait while the disk is full, and answer nothing meanwhile.

        Every heartbeat says so until then, and the round goes on without this member.
        """
        done = insist(write, self._now)
        self._end.watch.wrote()
        return done

    def _answer(self, question: Question) -> Envelope:
        self._now(kind_of(question.body))
        self._end.entropy.begin(question.seed)
        step = kind_of(question.body)
        self._released = step == "leave"
        if self._released:
            self._stopped = _reason_in(question.body)
        reply = m.encode(m.Done()) if self._released else self._handled(question)
        # Not where a request to save was refused: a snapshot drops what led to this state.
        if step in {"save", "leave"} and kind_of(reply) == "done":
            self._keep(question, reply)
        self._presence.step = "waiting"
        if not (self._again and self._end.memory.replaying):  # known already
            self._end.watch.answered(question.body, reply)
        return self._note(question.id, reply)

    def _now(self, step: str) -> None:
        self._presence.step = step
        self._end.watch.step(step)

    def _keep(self, question: Question, reply: bytes) -> None:
        """Write a snapshot, from which a restart goes on; it erases all older secrets."""
        newest = None if self._released else self._end.memory.newest
        fields = {
            "question": question.id,
            "reply": reply,
            "released": self._released,
            "stopped": self._stopped,
            "state": b"" if self._released else self._member.state(),
            "newest": newest,
        }
        packed = msgpack.packb(fields)
        self._insist(lambda: self._end.journal.snapshot(question.id, packed, besides=newest))

    def _note(self, question: str, reply: bytes) -> Envelope:
        """Return the answer to a request; repeated, it has the same id and the same bytes."""
        end = self._end
        name = f"{token(end.name)}.{question}"
        return Envelope(end.name, COORDINATOR_NAME, name, question, reply)

    def _handled(self, question: Question) -> bytes:
        """Return the member's reply; of an error, only its class and an id in our own log.

        The text of an error may hold data, and the coordinator is another party.

        Raises:
            UnwrittenError: If the disk took nothing: that is no answer.
            UnwritableError: If it never will: the member ends, and its person is told.
        """
        try:
            body = self._models.whole(question.body)
            if body is None:
                return m.encode(m.CacheMiss())
            (reply,) = self._member.handle(body)
        except m.MessageError as error:
            return self._failure(question.id, error.wire_name, str(error))
        except Exception as error:
            if unwritten(error):
                raise
            # A bug of this member must not end the run of the others.
            return self._failure(question.id, INTERNAL_ERROR, where(error))
        if kind_of(reply) != "failure":
            return reply
        failure = m.decode(reply)
        assert isinstance(failure, m.Failure)
        raise_if_of_a_disk(failure)
        return self._failure(question.id, failure.error, failure.text, failure.blames)

    def _failure(self, question: str, error: str, text: str, blames: str = "") -> bytes:
        name = os.urandom(4).hex()
        # Answers that are repeated after a restart are not sent, except for the last one.
        level = logging.INFO if self._end.memory.replaying else logging.ERROR
        place = {"question": question}
        _log.log(level, "answer %s failed: %s: %s", name, error, text, extra=place)
        told = m.Failure(error=error, text=f"see error {name} in its log", blames=blames)
        return m.encode(told)

    def _send(self, note: Envelope) -> None:
        layout = self._end.run.layout
        self._end.link.send(layout.from_member(self._end.name), note, self._end.keys)
