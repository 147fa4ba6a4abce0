"""The driver of a server session over an exchange, whatever is summed in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar

from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.transport.exchange import Exchange
from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    ProtocolError,
    RemoteProtocolError,
)
from securefl_protocols.session.dropouts import OPENING, ServerStep
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server import ServerSession


class RejectedSumError(SecureflError):
    """The sum that a member was shown is not that of the inputs that the survivors signed."""

    wire_name: ClassVar[str] = "RejectedSumError"


def culprit(error: ProtocolError, cohort: Sequence[str]) -> str:
    """Return the member whose doing an error of a session is; empty where that does not show."""
    peer = error.peer if isinstance(error, RemoteProtocolError) else None
    return "" if peer is None else cohort[peer]


@dataclass(kw_only=True)
class ServerSessionRunner:
    """A server session and its members.

    Attributes:
        cohort: Its members, in roster order.
        server: The session.
        asked: Those of them that are asked to take part; none for all. The sum is of these alone.
        without: Those that are not asked, though a sum may be of any others.
        usable: Whether another round may begin in it.
        failures: By member, the text of its first failure.
        accusers: By member, those that stopped because of it; see `Failure.blames`.
        signatures: By member, its signature under the end of the last round; see `ModelProof`.
        carrier: The message that carries the session's bytes, either way.
    """

    cohort: tuple[str, ...]
    server: ServerSession
    asked: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    usable: bool = True
    failures: dict[str, str] = field(default_factory=dict)
    accusers: dict[str, set[str]] = field(default_factory=dict)
    signatures: dict[str, bytes] = field(default_factory=dict)
    _revealing: bool = False
    carrier: type[m.Protocol | m.ScoreProtocol] = m.Protocol

    def run(
        self, exchange: Exchange, openings: Mapping[str, m.Message], number: int, model: bytes
    ) -> RoundResult:
        """Run one round, from the message that opens it to the sum that all members are shown.

        Args:
            exchange: The way to the members.
            openings: The first request to each member; the answer is its first message.
            number: Number of the round.
            model: 32 bytes, the digest of the model (or query) of the round.

        Raises:
            ChecksumFailed: If the sum fails its checksum at as many members as it does not.
            ProtocolError: If too few members are left.
        """
        server, self._revealing = self.server, False
        named = self.asked or self.cohort
        requests = {name: openings[name] for name in named if name not in self.without}
        while True:
            replies = exchange.replies(requests)
            if server.step is ServerStep.UNMASK:
                replies = self._insisted(exchange, requests, replies, {})
            self._collect(replies)
            keys_missing = server.step in OPENING
            closing = server.step is ServerStep.UNMASK
            outgoing = server.end_step()
            if server.step is ServerStep.UNMASK:
                self._revealing = True
                self.revealing()
            if keys_missing and server.step is ServerStep.IDLE:
                server.begin_round(number, model, self._only)
            if closing:
                payload = next(iter(outgoing.values()))
                missed = {name: requests[name] for name in _silent(replies)}
                shown = self.carrier(round=number, payload=payload)
                self._show_sum(exchange, requests, shown, missed)
                return server.result()
            requests = {
                self.cohort[index]: self.carrier(round=number, payload=payload)
                for index, payload in outgoing.items()
            }

    def revealing(self) -> None:
        """Called before signatures are shown, in answer to which members reveal shares."""

    def spoilers(self) -> dict[str, str]:
        """Return the members without which a failed session would have gone on, with the reasons.

        They fell silent in the draw of a graph, which needs all; they sent an input and proved no
        norm of it; or so many others stopped because of them that too few were left. So many could
        stop any session by themselves, so that a false word of theirs adds nothing to what they
        can do.
        """
        plan, found = self.server.plan, {}
        for dropout in self.server.dropouts:
            if dropout.step is ServerStep.REVEAL:
                found[self.cohort[dropout.member]] = "it kept back its value in the draw of a graph"
            if plan.norm is not None and dropout.step is ServerStep.CONSISTENCY:
                # Its input is among those that were signed: there is no sum with it.
                found[self.cohort[dropout.member]] = dropout.reason.value
        spare = (plan.members if plan.complete else plan.degree) - plan.threshold
        for name, accusers in self.accusers.items():
            if len(accusers) > spare:
                found[name] = f"{', '.join(sorted(accusers))} stopped because of what it sent"
        return found

    @property
    def _only(self) -> frozenset[int] | None:
        return frozenset(map(self.cohort.index, self.asked)) if self.asked else None

    @property
    def bound(self) -> tuple[str, ...]:
        """The survivors that members have revealed shares for; none where none can have."""
        # Signatures are shown when the step CONSISTENCY ends, and shares leave in answer to them.
        if not self._revealing:
            return ()
        return tuple(self.cohort[index] for index in sorted(self.server.survivors))

    def _collect(self, replies: dict[str, m.Message]) -> None:
        for name, reply in replies.items():
            if isinstance(reply, m.Failure):
                self.failures.setdefault(name, reply.text)
                if reply.blames in self.cohort:
                    self.accusers.setdefault(reply.blames, set()).add(name)
            if isinstance(reply, self.carrier):
                if self.server.receive(self.cohort.index(name), reply.payload) is not None:
                    self.usable = False
            elif isinstance(reply, m.Refused):
                continue  # It has left by its own policy; the session of the others is intact.
            elif self.server.step in OPENING or not isinstance(reply, m.Absent):
                # Without keys in this session, or after an abort, a member needs a new one.
                self.usable = False

    def _show_sum(
        self,
        exchange: Exchange,
        asked: Iterable[str],
        shown: m.Message,
        missed: Mapping[str, m.Message],
    ) -> None:
        """Show the sum to all that were asked to unmask it, also where their answer was lost.

        A member that helped to unmask enters no later round before it has seen the sum. One that
        rejects the sum alone leaves this session and cannot stop the others.

        Raises:
            ChecksumFailed: If at least as many members reject the sum as accept it. All are shown
                the same bytes, so the honest ones are of one mind, and others are fewer.
        """
        requests = dict.fromkeys(asked, shown)
        replies = self._insisted(exchange, requests, exchange.replies(requests), missed)
        failures = [reply for reply in replies.values() if isinstance(reply, m.Failure)]
        rejected = [one for one in failures if one.error == RejectedSumError.wire_name]
        accepted = sum(isinstance(one, m.Done | m.SumVerified) for one in replies.values())
        if failures:
            self.usable = False
        self.signatures = {
            name: reply.signature
            for name, reply in replies.items()
            if isinstance(reply, m.SumVerified)
        }
        if rejected and len(rejected) >= accepted:
            raise ChecksumFailed("the sum fails its checksum", self.server.survivors)

    def _insisted(
        self,
        exchange: Exchange,
        requests: Mapping[str, m.Message],
        replies: dict[str, m.Message],
        missed: Mapping[str, m.Message],
    ) -> dict[str, m.Message]:
        """Return the answers of a sum's last two steps; where they are too few, ask again.

        The next round is admitted by those that verified this sum, and by others on the word of as
        many as a sum needs. Where fewer verify it, the others can never enter a round again, and
        there is no sum without them: a run that went on here would stand still for good.

        Args:
            exchange: The way to the members.
            requests: What they were asked.
            replies: What they answered.
            missed: What those were asked in the step before that did not answer then: without it,
                they can make nothing of what they are asked now.
        """
        for attempt in count():
            silent = _silent(replies)
            answered = [one for one in replies.values() if isinstance(one, _GOES_ON)]
            enough = len(answered) >= self.server.plan.min_members
            if enough or not silent or self.carrier is not m.Protocol:
                break
            if not exchange.wait_for(silent, attempt):
                break
            before = exchange.replies({name: missed[name] for name in silent if name in missed})
            again = set(silent).difference(_silent(before))
            replies |= exchange.replies({name: requests[name] for name in sorted(again)})
        return replies


_GOES_ON = (m.Protocol, m.SumVerified)


def _silent(replies: Mapping[str, m.Message]) -> list[str]:
    return [name for name, reply in replies.items() if isinstance(reply, m.Absent)]
