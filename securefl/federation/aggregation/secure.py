"""Mode `secure`: the coordinator learns the cohort's sum, and no single member's update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgpack

from securefl.consortium.agreement.context import Consortium
from securefl.errors import InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregate
from securefl.federation.aggregation.session_driver import ServerSessionRunner
from securefl.federation.aggregation.session_parameters import (
    SessionParams,
    decode_loss,
    session_params,
)
from securefl.federation.transport.exchange import Exchange
from securefl.ml.cpu import cores
from securefl.ml.vectors import FloatVector, model_digest
from securefl_protocols.primitives.errors import PlanError, ProtocolError
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.transcript import Transcript


class RoundFailedError(SecureflError):
    """A round has no sum after all attempts; nothing of it was applied."""

    wire_name: ClassVar[str] = "RoundFailedError"


@dataclass(frozen=True)
class MaskedSum:
    """The result of a round of a session.

    Attributes:
        terms: The session's parameters.
        total: Sum of the survivors' inputs, uint32 or uint64 [d + 2].
        survivors: Their names.
        transcript: From which the sum can be recomputed.
        opened: By survivor, the keys of noise layers that are removed from the sum.
    """

    terms: SessionParams
    total: RingVector
    survivors: tuple[str, ...]
    transcript: Transcript
    opened: Mapping[int, Sequence[bytes]] = field(default_factory=dict, repr=False)


@dataclass(kw_only=True)
class _Session(ServerSessionRunner):
    """A session with what its aggregator must remember of it.

    Attributes:
        number: Identifies it to the members.
        terms: Its parameters.
        opening: The round that it was opened for, and the digest of that round's model.
    """

    number: int
    terms: SessionParams
    opening: tuple[int, bytes]

    def serves(self, cohort: tuple[str, ...]) -> bool:
        """Return whether another round of these members can begin in it."""
        idle = self.server.step is ServerStep.IDLE
        return self.usable and idle and self.cohort == cohort


class SecureAggregator:
    """The aggregator of masked sums; a session serves many rounds while its members stay.

    Keys are agreed once a session, because that costs more than a round.
    """

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
        """Return the weighted mean that a sum stands for."""
        encoding = result.terms.encoding
        try:
            decoded = result.terms.decode(result.total, result.opened)
        except ProtocolError as error:
            raise RoundFailedError(f"the sum cannot be decoded: {error}") from None
        return Aggregate(
            change=decoded.mean[:-1],
            samples=decoded.total_weight,
            loss=decode_loss(encoding, float(decoded.mean[-1])),
            survivors=result.survivors,
            transcript=result.transcript,
        )

    def masked_sum(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> MaskedSum:
        """Return the survivors' sum of a round.

        Raises:
            RoundFailedError: If too few members are left in every attempt.
        """
        reason = ""
        for _ in range(self._consortium.config.secure.attempts):
            session = self._session_for(round_number, shared, cohort)
            request = m.TrainMasked(
                round=round_number,
                shared=m.pack_vector(shared),
                cohort=cohort,
                session=session.number,
            )
            try:
                result = session.run(exchange, request, round_number, model_digest(shared))
            except ProtocolError as error:
                # Tried again in a new session: the keys of a failed one may be partly disclosed.
                # A member whose update was unmasked refuses, so that no round has two sums.
                session.usable, reason = False, str(error)
                continue
            survivors = tuple(cohort[index] for index in result.survivors)
            transcript = session.server.transcript()
            return MaskedSum(session.terms, result.total, survivors, transcript, result.opened)
        refused = exchange.refused_in(0) | exchange.refused_in(round_number)
        reasons = [
            reason,
            *(f"{name} refused: {text}" for name, text in refused.items()),
            *(f"{name} failed: {text}" for name, text in exchange.failures.items()),
        ]
        raise RoundFailedError(f"round {round_number} has no sum: {'; '.join(reasons)}")

    def _session_for(
        self, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> _Session:
        current = self._session
        if current is not None and current.serves(cohort):
            current.server.begin_round(round_number, model_digest(shared))
            return current
        self._sessions += 1
        opening = (round_number, model_digest(shared))
        self._session = self._opened(self._sessions, cohort, shared.shape[0], opening)
        return self._session

    def _opened(
        self, number: int, cohort: tuple[str, ...], dimension: int, opening: tuple[int, bytes]
    ) -> _Session:
        try:
            terms = session_params(self._consortium, cohort, dimension)
        except PlanError as error:
            raise InputError(f"secure: {error}") from None
        server = ServerSession(
            plan=terms.plan,
            roster=self._consortium.part(cohort),
            context=terms.context,
            number=opening[0],
            model=opening[1],
            threads=cores(),  # idle otherwise: the members wait while it unmasks
        )
        return _Session(number=number, cohort=cohort, terms=terms, opening=opening, server=server)

    def state(self) -> bytes:
        """Return what a coordinator that is restarted between two rounds needs; not secret."""
        session = self._session
        usable = session is not None and session.serves(session.cohort)
        fields = {
            "sessions": self._sessions,
            "session": _session_state(session) if session is not None and usable else None,
        }
        packed: bytes = msgpack.packb(fields)
        return packed

    def restore(self, state: bytes) -> None:
        """Take up a `state` in an aggregator that has run nothing yet."""
        fields = msgpack.unpackb(state, strict_map_key=False)
        self._sessions = fields["sessions"]
        kept = fields["session"]
        if kept is None:
            return
        opening = (kept["opening"][0], kept["opening"][1])
        session = self._opened(kept["number"], tuple(kept["cohort"]), kept["dimension"], opening)
        for member, message in kept["advertised"].items():
            session.server.receive(member, message)
        session.server.end_step()
        session.server.skip_to(frozenset(kept["banned"]), kept["rounds_left"])
        self._session = session


def _session_state(session: _Session) -> dict[str, Any]:
    server = session.server
    return {
        "number": session.number,
        "cohort": session.cohort,
        "dimension": session.terms.dimension,
        "opening": session.opening,
        "advertised": server.advertised(),
        "banned": sorted(server.banned),
        "rounds_left": server.rounds_left,
    }
