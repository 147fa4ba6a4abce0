"""Request and reply between the coordinator and the members, over any engine."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

from securefl.errors import InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.transport.base import Transport
from securefl.untrusted.text import one_line

AnswerT = TypeVar("AnswerT", bound=m.Message)


class MemberFailedError(SecureflError):
    """A member could not carry out a request; the text names the member and the reason."""

    wire_name: ClassVar[str] = "MemberFailedError"


class MemberInputError(MemberFailedError, InputError):
    """A member failed because of its input: a table, a setting, a damaged file."""

    wire_name: ClassVar[str] = "MemberInputError"


_INPUT_ERRORS = {
    *("InputError", "DataError", "ConfigError", "DatabaseError"),
    *("RunDirectoryError", "UnwritableError", "UnwrittenError", "StorageFullError"),
}
"""The `wire_name`s of errors that stand for a wrong input at a member, or for its disk."""


class Exchange:
    """A request-reply client; a party answers in the order in which it was asked.

    Attributes:
        bytes_down: Bytes sent to each party.
        bytes_up: Bytes received from each party.
        refusals: Each party's refusals by round, the last of each; round 0 is the whole run, after
            which a party is asked nothing more.
        failures: Each party's first failure since `forget_failures`, as text.
    """

    def __init__(
        self,
        transport: Transport,
        timeout: float | None = None,
        arrived: defaultdict[str, deque[m.Message]] | None = None,
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._arrived = defaultdict(deque) if arrived is None else arrived
        self.bytes_down: Counter[str] = Counter()
        self.bytes_up: Counter[str] = Counter()
        self.refusals: dict[str, dict[int, m.Refused]] = {}
        self.failures: dict[str, str] = {}
        self._written: tuple[m.Message, bytes] | None = None

    def aside(self) -> Exchange:
        """Return an exchange over the same transport whose bytes count as no traffic of the run.

        The two share what has arrived, so that an answer reaches the one that waits for it.
        """
        return Exchange(self._transport, self._timeout, self._arrived)

    def request(self, party: str, message: m.Message) -> None:
        """Send a request to one party; its answer is collected later."""
        # The same question usually goes to all members, and encoding copies the whole model.
        if self._written is None or self._written[0] is not message:
            self._written = message, m.encode(message)
        data = self._written[1]
        self.bytes_down[party] += len(data)
        self._transport.publish(party, data)

    def collect(self, parties: Iterable[str], kind: type[AnswerT]) -> dict[str, AnswerT]:
        """Return the next answer of each party, in the order of `parties`.

        Raises:
            MemberFailedError: If a party failed, or answered with another kind of message.
            DeadlineExceeded: If an answer does not arrive in time.
        """
        return {party: self._next(party, kind) for party in parties}

    def ask(self, requests: Mapping[str, m.Message], kind: type[AnswerT]) -> dict[str, AnswerT]:
        """Send each party its own request and wait for all answers."""
        for party, message in requests.items():
            self.request(party, message)
        return self.collect(requests, kind)

    def ask_all(
        self, parties: Iterable[str], message: m.Message, kind: type[AnswerT]
    ) -> dict[str, AnswerT]:
        """Send all parties the same request and wait for all answers."""
        return self.ask(dict.fromkeys(parties, message), kind)

    def replies(self, requests: Mapping[str, m.Message]) -> dict[str, m.Message]:
        """Send each party its own request and return any answer, failures included."""
        left = {party: refused[0] for party, refused in self.refusals.items() if 0 in refused}
        for party, message in requests.items():
            if party not in left:
                self.request(party, message)
        return {party: left.get(party) or self._any(party) for party in requests}

    def refused_in(self, number: int) -> dict[str, str]:
        """Return the parties that refused a round, or the whole run (0), with their reasons."""
        return {
            party: refused[number].text
            for party, refused in self.refusals.items()
            if number in refused
        }

    def leave_out(self, party: str, error: SecureflError) -> None:
        """Decide what an answer that cannot be used means; here it ends the run.

        Raises:
            SecureflError: `error`.
        """
        del party
        raise error

    def set_aside(self, error: SecureflError) -> None:
        """Decide what a result of all parties that cannot be used means; here it ends the run.

        Raises:
            SecureflError: `error`.
        """
        raise error

    def wait_for(self, parties: Sequence[str], attempt: int) -> bool:
        """Wait before silent parties are asked again, without which the run would stand still.

        Args:
            parties: They.
            attempt: How often they were asked again already.

        Returns:
            Whether to ask them; here not, as nothing changes by waiting.
        """
        del parties, attempt
        return False

    def forget_failures(self) -> None:
        """Begin a period, such as a round, whose failures are to be known by themselves."""
        self.failures.clear()

    def why_left_out(self, party: str, number: int) -> str:
        """Return why a party is not in the result of a round, as text."""
        refused = self.refused_in(0) | self.refused_in(number)
        if party in refused:
            return f"refused: {refused[party]}"
        if party in self.failures:
            return f"failed: {self.failures[party]}"
        return "gave no valid answer in time"

    def _any(self, party: str) -> m.Message:
        # Answers of other parties may arrive first; they wait in their queues until they are asked
        # for, so that results have roster order and not the order of the network.
        while not self._arrived[party]:
            delivery = self._transport.receive(self._timeout)
            self.bytes_up[delivery.sender] += len(delivery.message)
            self._arrived[delivery.sender].append(_read(delivery.message))
        answer = self._arrived[party].popleft()
        if isinstance(answer, m.Refused):
            self.refusals.setdefault(party, {})[answer.round] = answer
        if isinstance(answer, m.Failure):
            # The first one: what follows it in a round is that the party is not in the session.
            self.failures.setdefault(party, one_line(answer.text))
        return answer

    def _next(self, party: str, kind: type[AnswerT]) -> AnswerT:
        answer = self._any(party)
        if not isinstance(answer, kind):
            raise failed(party, answer)
        return answer


def _read(data: bytes) -> m.Message:
    """Return the message in an answer; bytes that are none are a failure of their sender alone.

    Over a network, answers are in the journal before they are read: an error would end the run of
    all members, and again at every restart.
    """
    try:
        return m.decode(data)
    except m.MessageError as error:
        return m.Failure(error=error.wire_name, text=str(error))


def none_left(number: int, replies: Mapping[str, m.Message]) -> SecureflError:
    """Return the error for a round in which no member trained.

    A refusal stands where all refuse: then no other try changes that. One member's refusal, while
    the others are away, must not end their run.
    """
    refused = {party: reply for party, reply in replies.items() if isinstance(reply, m.Refused)}
    if refused and len(refused) == len(replies):
        return failed(*next(iter(refused.items())))
    return MemberFailedError(f"no member is left in round {number}")


def said_once(refused: Mapping[str, str], failures: Mapping[str, str]) -> list[str]:
    """Return why parties are missing: each reason once, after the parties that it holds for.

    Args:
        refused: Reasons of those that refused, by party.
        failures: Reasons of those that failed, by party.
    """
    parties: defaultdict[str, list[str]] = defaultdict(list)
    for verb, reasons in (("refused", refused), ("failed", failures)):
        for party, reason in reasons.items():
            parties[f"{verb}: {reason}"].append(party)
    return [f"{', '.join(names)} {said}" for said, names in parties.items()]


def failed(party: str, answer: m.Message) -> SecureflError:
    """Return the error for an answer of an unexpected kind."""
    if isinstance(answer, m.Refused):
        return MemberInputError(f"{party} refused: {answer.text}")
    if isinstance(answer, m.Failure):
        kind = MemberInputError if answer.error in _INPUT_ERRORS else MemberFailedError
        return kind(f"{party} failed: {answer.text}")
    return MemberFailedError(f"{party} answered '{type(answer).__name__}' out of turn")
