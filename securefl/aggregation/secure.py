"""Mode `secure`: the coordinator gets the cohort's sum, and of no member more than a mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from securefl import messages as m
from securefl.aggregation.aggregate import Aggregate
from securefl.aggregation.terms import Consortium, Terms, decode_loss, model_digest, session_terms
from securefl.errors import InputError, SecureflError
from securefl.exchange import Exchange
from securefl.models.locality import FloatVector
from securefl_protocols.drops import ServerStep
from securefl_protocols.errors import PlanError, ProtocolError
from securefl_protocols.lane import LaneVector
from securefl_protocols.results import RoundResult
from securefl_protocols.server import ServerSession


class RoundFailedError(SecureflError):
    """A round has no sum, however often it was tried; nothing of it was applied."""


@dataclass(frozen=True)
class MaskedSum:
    """What a round of a session gave.

    Attributes:
        terms: The session's terms.
        total: Sum of the survivors' inputs, uint32 or uint64 [d + 2].
        survivors: Their names.
    """

    terms: Terms
    total: LaneVector
    survivors: tuple[str, ...]


@dataclass
class _Session:
    """A server session with what the driver must remember of it."""

    number: int
    cohort: tuple[str, ...]
    terms: Terms
    server: ServerSession
    usable: bool = True

    def serves(self, cohort: tuple[str, ...]) -> bool:
        """Whether another round of these members can begin in it."""
        idle = self.server.step is ServerStep.IDLE
        return self.usable and idle and self.cohort == cohort


class SecureAggregator:
    """Drives one session after another; a session serves many rounds while its members stay."""

    def __init__(self, consortium: Consortium) -> None:
        self._consortium = consortium
        self._session: _Session | None = None
        self._sessions = 0

    def aggregate(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> Aggregate:
        """See `Aggregator.aggregate`.

        Raises:
            RoundFailedError: If too few members are left in every attempt.
        """
        return self.decoded(self.masked_sum(exchange, round_number, shared, cohort))

    @staticmethod
    def decoded(result: MaskedSum) -> Aggregate:
        """The weighted mean that a sum stands for."""
        encoding = result.terms.encoding
        try:
            decoded = encoding.decode(result.total)
        except ProtocolError as error:
            raise RoundFailedError(f"the sum makes no sense: {error}") from None
        return Aggregate(
            change=decoded.mean[:-1],
            samples=decoded.total_weight,
            loss=decode_loss(encoding, float(decoded.mean[-1])),
            survivors=result.survivors,
        )

    def masked_sum(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> MaskedSum:
        """The survivors' sum of a round, tried again under fresh keys where it fails."""
        reason = ""
        for _ in range(self._consortium.config.secure.attempts):
            session = self._session_for(round_number, shared, cohort)
            try:
                result = self._run_round(exchange, session, round_number, shared)
            except ProtocolError as error:
                session.usable, reason = False, str(error)
                continue
            survivors = tuple(cohort[index] for index in result.survivors)
            return MaskedSum(session.terms, result.total, survivors)
        raise RoundFailedError(f"round {round_number} has no sum: {reason}")

    def _session_for(
        self, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> _Session:
        current = self._session
        if current is not None and current.serves(cohort):
            current.server.begin_round(round_number, model_digest(shared))
            return current
        self._sessions += 1
        try:
            terms = session_terms(self._consortium, cohort, shared.shape[0])
        except PlanError as error:
            raise InputError(f"secure: {error}") from None
        server = ServerSession(
            plan=terms.plan,
            roster=self._consortium.part(cohort),
            context=terms.context,
            number=round_number,
            model=model_digest(shared),
        )
        self._session = _Session(self._sessions, cohort, terms, server)
        return self._session

    def _run_round(
        self, exchange: Exchange, session: _Session, round_number: int, shared: FloatVector
    ) -> RoundResult:
        server, cohort = session.server, session.cohort
        request = m.TrainMasked(
            round=round_number,
            shared=m.pack_vector(shared),
            cohort=cohort,
            session=session.number,
        )
        requests: dict[str, m.Message] = dict.fromkeys(cohort, request)
        while True:
            self._collect(session, exchange.replies(requests))
            opening = server.step is ServerStep.ADVERTISE
            closing = server.step is ServerStep.UNMASK
            outgoing = server.end_step()
            if opening:
                server.begin_round(round_number, model_digest(shared))
            if closing:
                payload = next(iter(outgoing.values()))
                shown = m.Protocol(round=round_number, payload=payload)
                self._show_sum(exchange, session, requests, shown)
                return server.result()
            requests = {
                cohort[index]: m.Protocol(round=round_number, payload=payload)
                for index, payload in outgoing.items()
            }

    @staticmethod
    def _collect(session: _Session, replies: dict[str, m.Message]) -> None:
        for name, reply in replies.items():
            if isinstance(reply, m.Protocol):
                if session.server.receive(session.cohort.index(name), reply.payload) is not None:
                    session.usable = False
            elif session.server.step is ServerStep.ADVERTISE or not isinstance(reply, m.Absent):
                # Without keys in this session, or after an abort, a member needs a new one.
                session.usable = False

    @staticmethod
    def _show_sum(
        exchange: Exchange, session: _Session, asked: Iterable[str], shown: m.Protocol
    ) -> None:
        """Show the sum to all that were asked to unmask it, also where their answer was lost.

        A member that helped to unmask enters no later round before it has seen the sum. One that
        refuses the sum leaves this session; it cannot stop the others.
        """
        replies = exchange.replies(dict.fromkeys(asked, shown))
        if any(isinstance(reply, m.Failure) for reply in replies.values()):
            session.usable = False
