"""Asking members and waiting for their answers, over any engine."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeVar

from securefl.errors import InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.transport.base import Transport

AnswerT = TypeVar("AnswerT", bound=m.Message)


class MemberFailedError(SecureflError):
    """A member could not do what it was asked; the text names the member and the reason."""

    wire_name: ClassVar[str] = "MemberFailedError"


class MemberInputError(MemberFailedError, InputError):
    """A member failed for what it was given: a table, a setting, a damaged file."""

    wire_name: ClassVar[str] = "MemberInputError"


_INPUT_ERRORS = {"InputError", "DataError", "ConfigError", "RunDirectoryError", "DatabaseError"}
"""The `wire_name`s of errors that say that a member was given something wrong."""


class Exchange:
    """Requests out, answers in; a party answers in the order in which it was asked.

    Attributes:
        bytes_down: Bytes sent to each party.
        bytes_up: Bytes received from each party.
        refusals: What each party refused, the last of each round; one that refused the whole run
            is asked nothing more.
    """

    def __init__(self, transport: Transport, timeout: float | None = None) -> None:
        self._transport = transport
        self._timeout = timeout
        self._arrived: defaultdict[str, deque[m.Message]] = defaultdict(deque)
        self.bytes_down: Counter[str] = Counter()
        self.bytes_up: Counter[str] = Counter()
        self.refusals: dict[str, dict[int, m.Refused]] = {}
        self._written: tuple[m.Message, bytes] | None = None

    def request(self, party: str, message: m.Message) -> None:
        """Ask one party; its answer is collected later."""
        if self._written is None or self._written[0] is not message:
            self._written = message, m.encode(message)
        data = self._written[1]
        self.bytes_down[party] += len(data)
        self._transport.publish(party, data)

    def collect(self, parties: Iterable[str], kind: type[AnswerT]) -> dict[str, AnswerT]:
        """The next answer of each party, in the order of `parties`.

        Raises:
            MemberFailedError: If a party failed, or answered something else.
            DeadlineExceeded: If an answer is missing in time.
        """
        return {party: self._next(party, kind) for party in parties}

    def ask(self, requests: Mapping[str, m.Message], kind: type[AnswerT]) -> dict[str, AnswerT]:
        """Ask each party its own question and wait for all answers."""
        for party, message in requests.items():
            self.request(party, message)
        return self.collect(requests, kind)

    def ask_all(
        self, parties: Iterable[str], message: m.Message, kind: type[AnswerT]
    ) -> dict[str, AnswerT]:
        """Ask all parties the same question and wait for all answers."""
        return self.ask(dict.fromkeys(parties, message), kind)

    def replies(self, requests: Mapping[str, m.Message]) -> dict[str, m.Message]:
        """Ask each party its own question and take whatever it answers, failures included."""
        left = {party: refused[0] for party, refused in self.refusals.items() if 0 in refused}
        for party, message in requests.items():
            if party not in left:
                self.request(party, message)
        return {party: left.get(party) or self._any(party) for party in requests}

    def refused_in(self, number: int) -> dict[str, str]:
        """Who refused a round, or the whole run (0), and why in words."""
        return {
            party: refused[number].text
            for party, refused in self.refusals.items()
            if number in refused
        }

    def _any(self, party: str) -> m.Message:
        while not self._arrived[party]:
            delivery = self._transport.receive(self._timeout)
            self.bytes_up[delivery.sender] += len(delivery.message)
            self._arrived[delivery.sender].append(m.decode(delivery.message))
        answer = self._arrived[party].popleft()
        if isinstance(answer, m.Refused):
            self.refusals.setdefault(party, {})[answer.round] = answer
        return answer

    def _next(self, party: str, kind: type[AnswerT]) -> AnswerT:
        answer = self._any(party)
        if not isinstance(answer, kind):
            raise failed(party, answer)
        return answer


def nobody_left(number: int, replies: Mapping[str, m.Message]) -> SecureflError:
    """The error for a round in which nobody trained."""
    for party, reply in replies.items():
        if isinstance(reply, m.Refused):
            return failed(party, reply)
    return MemberFailedError(f"nobody is left in round {number}")


def failed(party: str, answer: m.Message) -> SecureflError:
    """The error for an answer that was not the one asked for."""
    if isinstance(answer, m.Refused):
        return MemberInputError(f"{party} refused: {answer.text}")
    if isinstance(answer, m.Failure):
        kind = MemberInputError if answer.error in _INPUT_ERRORS else MemberFailedError
        return kind(f"{party} failed: {answer.text}")
    return MemberFailedError(f"{party} answered '{type(answer).__name__}' out of turn")
