"""Answers that come before a restarted coordinator has come to their questions again.

What a killed coordinator had not written to its journal is still on the broker, and is delivered to
the next process at once. That one first asks for what it asks at every start, and only then repeats
the section in which the answer belongs. A member says an answer again only while it is its last
one: an early answer that was dropped would be waited for in vain.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.journal import CoordinatorJournal

_MOST = 4
"""Early answers of one member; a coordinator has one open question to each."""


class EarlyAnswers:
    """The answers to questions of a section that is not entered yet, not acknowledged.

    They stay on the broker, so that another kill loses none of them.

    Args:
        journal: Knows the sections that are repeated.
    """

    def __init__(self, journal: CoordinatorJournal) -> None:
        self._journal = journal
        self._kept: dict[tuple[str, str], Arrival] = {}
        self._large: dict[str, str] = {}

    def admits(self, sender: str, answers: str, present: int) -> bool:
        """Return whether an early answer may be large: the first of its sender in a section alone.

        A coordinator has one open question to each member, so an honest one has one such answer.
        All others are small, and a member cannot have more held here than of its asked answers.
        """
        # By the connection's thread, before a part is opened.
        if not self.expects(answers, present):
            return False
        return self._large.setdefault(sender, answers) == answers

    def keep(self, arrival: Arrival, present: int) -> bool:
        """Keep an answer if its question can come again, and return whether it was kept.

        Args:
            arrival: The answer.
            present: Number of the section that the coordinator is in.
        """
        note = arrival.note
        if not self.expects(note.answers, present):
            return False
        # A member that was restarted answers again, and its last word counts. Without an
        # acknowledgement the one before would be unread for good, and take a place of the reader.
        if (before := self._kept.pop((note.sender, note.answers), None)) is not None:
            before.acknowledge()
        if sum(sender == note.sender for sender, _ in self._kept) >= _MOST:
            return False
        self._kept[note.sender, note.answers] = arrival
        return True

    def expects(self, answers: str, present: int) -> bool:
        """Return whether the question of this id can come again, as `keep`."""
        section = _section_of(answers, self._journal.epoch)
        # In a section that is repeated, what answers another one is a copy of what was read.
        if section is None or self._journal.repeats(present):
            return False
        return self._journal.repeats(section)

    def enter(self, section: int) -> None:
        """Drop what belongs into another section than this one, which is repeated."""
        self._large = {}
        for key in list(self._kept):
            if _section_of(key[1], self._journal.epoch) != section:
                self._kept.pop(key).acknowledge()

    def due(self, asked: Mapping[str, str], answered: Collection[str]) -> list[Arrival]:
        """Return the answers to open questions, each once.

        Args:
            asked: Member to the id of its open question.
            answered: Ids that the journal has answers to; what came of them again is dropped.
        """
        for key in [key for key in self._kept if key[1] in answered]:
            self._kept.pop(key).acknowledge()
        open_ = [key for key in asked.items() if key in self._kept]
        return [self._kept.pop(key) for key in open_]


def _section_of(request: str, epoch: str) -> int | None:
    """Return the section of a request's id; None where it is of another journal."""
    parts = request.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[0] == epoch and parts[1].isdigit() else None
