"""Mode `secure`: the coordinator learns the cohort's sum, and no single member's update."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgpack

from securefl.consortium.agreement.context import Consortium
from securefl.errors import InputError, SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregate
from securefl.federation.aggregation.model_proofs import ModelProof, proved_requests
from securefl.federation.aggregation.session_driver import ServerSessionRunner, culprit
from securefl.federation.aggregation.session_parameters import (
    SessionParams,
    decode_loss,
    session_params,
)
from securefl.federation.aggregation.tries import Tries
from securefl.federation.transport.exchange import Exchange, said_once
from securefl.ml.cpu import cores
from securefl.ml.vectors import FloatVector, model_digest
from securefl_protocols.primitives.errors import ChecksumFailed, PlanError, ProtocolError
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.server import ServerSession
from securefl_protocols.wire.transcript import Transcript


class RoundFailedError(SecureflError):
    """A round has no sum after all attempts; nothing of it was applied."""

    wire_name: ClassVar[str] = "RoundFailedError"


class UnverifiedRoundError(SecureflError):
    """A round's sum failed its checksum, or was lost, as often as agreed; the run stops."""

    wire_name: ClassVar[str] = "UnverifiedRoundError"


@dataclass(frozen=True)
class MaskedSum:
    """The result of a round of a session.

    Attributes:
        terms: The session's parameters.
        total: Sum of the survivors' inputs, in the dtype of its ring [d + tail].
        survivors: Their names.
        transcript: From which the sum can be recomputed.
        opened: By survivor, the keys of noise layers that are removed from the sum.
        signatures: Member to its signature under the round's end, from those that verified the sum.
    """

    terms: SessionParams
    total: RingVector
    survivors: tuple[str, ...]
    transcript: Transcript
    signatures: Mapping[str, bytes]
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
    tries: Tries

    def revealing(self) -> None:
        """Note, before members reveal shares, that every later try is of the same survivors."""
        self.tries.reveal(self.bound)

    def serves(self, cohort: tuple[str, ...]) -> bool:
        """Return whether another round of these members can begin in it."""
        idle = self.server.step is ServerStep.IDLE
        return self.usable and idle and self.cohort == cohort


@dataclass(frozen=True)
class _HandedOver:
    """The input of the last `Aggregator.hand_over`."""

    proof: ModelProof
    moments: bytes = field(repr=False)
    known_to: frozenset[str]

    def state(self) -> list[Any]:
        """Return it as plain values."""
        return [self.proof.stored(), self.moments, sorted(self.known_to)]


class SecureAggregator:
    """The aggregator of masked sums; a session serves many rounds while its members stay.

    Keys are agreed once a session, because that costs more than a round.

    Args:
        consortium: The parties and their agreement.
        rejected: Is given the transcript of each round whose sum fails its checksum.
        memory: The file of a round's tries, where no journal brings them back after a restart.
    """

    def __init__(
        self,
        consortium: Consortium,
        rejected: Callable[[int, Transcript], None] | None = None,
        memory: Path | None = None,
    ) -> None:
        self._consortium = consortium
        self._rejected = rejected
        self._memory = memory
        self._session: _Session | None = None
        self._sessions = 0
        self._handed: _HandedOver | None = None
        self._tries = Tries((0, b""))

    def hand_over(self, proof: ModelProof, moments: bytes, known_to: Collection[str]) -> None:
        """See `Aggregator.hand_over`."""
        self._handed = _HandedOver(proof, moments, frozenset(known_to))

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
        try:
            decoded = result.terms.decode(result.total, result.opened)
        except ProtocolError as error:
            raise RoundFailedError(f"the sum cannot be decoded: {error}") from None
        return Aggregate(
            change=decoded.mean,
            samples=decoded.total_weight,
            loss=decode_loss(decoded),
            survivors=result.survivors,
            transcript=result.transcript,
            signatures=result.signatures,
        )

    def masked_sum(
        self, exchange: Exchange, round_number: int, shared: FloatVector, cohort: tuple[str, ...]
    ) -> MaskedSum:
        """Return the survivors' sum of a round.

        Raises:
            RoundFailedError: If too few members are left in every attempt.
            UnverifiedRoundError: If the sum failed its checksum, or was lost after members had
                revealed shares for it, as often as agreed.
        """
        round_ = round_number, model_digest(shared)
        if self._tries.round != round_:
            self._tries = Tries.of(round_, self._memory)
        reason, failed = "", 0
        while failed < self._consortium.config.secure.attempts:
            session = self._session_for(round_, shared.shape[0], cohort)
            packed, at = m.pack_vector(shared), session.number
            request = m.TrainMasked(round=round_number, shared=packed, cohort=cohort, session=at)
            openings = self._openings(request, round_[1], exchange.failures)
            try:
                result = session.run(exchange, openings, *round_)
            except ChecksumFailed as error:
                if self._rejected is not None:
                    self._rejected(round_number, session.server.transcript())
                self._again(session)
                self._count_rejected(error, cohort)
            except ProtocolError as error:
                self._again(session)
                self._leave_out(session.spoilers(), exchange)
                name = culprit(error, cohort)
                reason, failed = f"{name}: {error}" if name else str(error), failed + 1
                self._check_lost(reason)
            else:
                return _sum_of(session, result)
        refused = exchange.refused_in(0) | exchange.refused_in(round_number)
        reasons = [reason, *said_once(refused, exchange.failures)]
        raise RoundFailedError(f"round {round_number} has no sum: {'; '.join(reasons)}")

    def _openings(
        self, request: m.TrainMasked, model: bytes, failures: Collection[str]
    ) -> dict[str, m.Message]:
        """Return the first request to each member, with the proof of its model where needed.

        Also to one that signed the proof, and failed in an earlier try of the round: it may have
        lost the folder in which it knew the model.
        """
        handed, cohort = self._handed, request.cohort
        # Of the model that the round begins from: behind a rejected round, that of an earlier one.
        if handed is None or handed.proof.end.model != model:
            return dict.fromkeys(cohort, request)
        known_to = handed.known_to.difference(failures)
        return proved_requests(
            self._consortium, request, cohort, handed.proof, known_to, moments=handed.moments
        )

    def _again(self, session: _Session) -> None:
        """Prepare another try, in a new session: the keys of a failed one may be disclosed."""
        session.usable = False

    def _leave_out(self, spoilers: Mapping[str, str], exchange: Exchange) -> None:
        """Have members that would fail every try left out of the next ones, with the reasons."""
        for name, reason in spoilers.items():
            exchange.failures.setdefault(name, reason)
        self._tries.spoilers |= spoilers.keys()

    def _count_rejected(self, error: ChecksumFailed, cohort: tuple[str, ...]) -> None:
        tries, repeats = self._tries, self._consortium.config.secure.repeats
        tries.rejected += 1
        if tries.revealed > repeats:
            names = ", ".join(cohort[index] for index in sorted(error.survivors))
            raise UnverifiedRoundError(
                f"round {tries.round[0]}: the sum failed its checksum {tries.rejected} times, and"
                f" {repeats} repeats were agreed; one of {names} sends wrong checksums"
            )

    def _check_lost(self, reason: str) -> None:
        """Stop where a sum was lost so often that members would enter the round no more."""
        tries, repeats = self._tries, self._consortium.config.secure.repeats
        if tries.revealed > repeats:
            raise UnverifiedRoundError(
                f"round {tries.round[0]}: members revealed shares for its sum {tries.revealed}"
                f" times, {repeats} repeats were agreed, and there is none: {reason}"
            )

    def _session_for(
        self, round_: tuple[int, bytes], dimension: int, cohort: tuple[str, ...]
    ) -> _Session:
        current = self._session
        if current is not None and current.serves(cohort):
            current.server.begin_round(*round_)
            current.tries = self._tries
            return current
        self._sessions += 1
        session = self._session = self._opened(self._sessions, cohort, dimension, round_)
        tries, least = self._tries, session.terms.plan.min_members
        session.asked = tries.bound
        if not tries.bound and len(cohort) - len(tries.spoilers) >= least:
            session.without = tries.spoilers
        if session.asked or session.without:
            session.usable = False  # the others have no keys in it, so the next round opens another
        return session

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
        return _Session(
            number=number,
            cohort=cohort,
            terms=terms,
            opening=opening,
            server=server,
            tries=self._tries,
        )

    def state(self) -> bytes:
        """Return what a coordinator that is restarted between two rounds needs; not secret."""
        session = self._session
        usable = session is not None and session.serves(session.cohort)
        fields = {
            "sessions": self._sessions,
            "session": _session_state(session) if session is not None and usable else None,
            "handed": None if self._handed is None else self._handed.state(),
        }
        packed: bytes = msgpack.packb(fields)
        return packed

    def restore(self, state: bytes) -> None:
        """Take up a `state` in an aggregator that has run nothing yet.

        Raises:
            InputError: If an earlier version wrote it.
        """
        fields = msgpack.unpackb(state, strict_map_key=False)
        self._sessions = fields["sessions"]
        if fields["handed"] is not None:
            proof, moments, known_to = fields["handed"]
            self.hand_over(ModelProof.from_stored(proof), moments, known_to)
        kept = fields["session"]
        if kept is None:
            return
        if "opened" not in kept:
            raise InputError("the journal of this coordinator is of an earlier version")
        opening = (kept["opening"][0], kept["opening"][1])
        session = self._opened(kept["number"], tuple(kept["cohort"]), kept["dimension"], opening)
        for step in kept["opened"]:
            for member, message in step.items():
                session.server.receive(member, message)
            session.server.end_step()
        session.server.skip_to(frozenset(kept["banned"]), kept["rounds_left"])
        self._session = session


def _sum_of(session: _Session, result: RoundResult) -> MaskedSum:
    survivors = tuple(session.cohort[index] for index in result.survivors)
    transcript = session.server.transcript()
    return MaskedSum(
        session.terms, result.total, survivors, transcript, session.signatures, result.opened
    )


def _session_state(session: _Session) -> dict[str, Any]:
    server = session.server
    return {
        "number": session.number,
        "cohort": session.cohort,
        "dimension": session.terms.dimension,
        "opening": session.opening,
        "opened": server.opening(),
        "banned": sorted(server.banned),
        "rounds_left": server.rounds_left,
    }
