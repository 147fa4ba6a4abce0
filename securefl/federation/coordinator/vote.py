"""The vote on a round's model: ask all members, keep what they signed, repeat or stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar, Protocol

from securefl.config.schema import RunConfig
from securefl.config.vote_rounds import is_voted_on
from securefl.consortium.agreement.context import Consortium
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import ModelProof, proved_requests
from securefl.federation.scores.ballots import Vote, vote_of
from securefl.federation.transport.exchange import Exchange, failed
from securefl.ml.vectors import FloatVector, model_digest
from securefl.untrusted.text import one_line

_log = logging.getLogger(__name__)


class RejectedModelError(SecureflError):
    """The agreed quorum of members rejects models as often in a row as was agreed."""

    wire_name: ClassVar[str] = "RejectedModelError"


class Voted(Protocol):
    """A round that has ended."""

    @property
    def round(self) -> int:
        """Its number."""

    @property
    def vote(self) -> Vote | None:
        """The vote on its model."""


def hold_vote(
    exchange: Exchange,
    consortium: Consortium,
    members: tuple[str, ...],
    ended: tuple[int, FloatVector, ModelProof | None],
) -> Vote | None:
    """Return the vote on a round's model; None where none was agreed.

    A member that fails, is away, or signs something else is absent: it must not stop the others.

    Args:
        exchange: The way to the members.
        consortium: The parties and their agreement.
        members: Who takes part.
        ended: Number of the round, its model (float32 [d]), and what proves it.
    """
    number, shared, proof = ended
    if not is_voted_on(consortium.config, number):
        return None
    request = m.VoteRequest(round=number, shared=m.pack_vector(shared))
    replies = exchange.replies(proved_requests(consortium, request, members, proof))
    given = {
        name: reply
        for name, reply in replies.items()
        if isinstance(reply, m.Ballot) and reply.round == number
    }
    vote = vote_of(
        consortium,
        (number, model_digest(shared)),
        {name: reply.ballot for name, reply in given.items()},
        {name: reply.signature for name, reply in given.items()},
    )
    for name in vote.absent:
        why = _why_absent(name, replies.get(name, m.Absent()), number)
        _log.warning("round %d: %s gave no ballot that counts: %s", number, name, why)
    return vote


def _why_absent(name: str, reply: m.Message, number: int) -> str:
    """Return why there is no ballot of a member, for a person."""
    if isinstance(reply, m.Absent):
        return "it gave no answer in time"
    if not isinstance(reply, m.Ballot):
        return one_line(str(failed(name, reply)))
    if reply.round != number:
        return f"its ballot is on round {reply.round}"
    return "it did not sign this ballot on this model"


def rejections_in_a_row(records: Sequence[Voted]) -> int:
    """Return how many of the last rounds were rejected, one after the other."""
    count = 0
    for record in reversed(records):
        if record.vote is None or not record.vote.rejected:
            break
        count += 1
    return count


def check_accepted(
    config: RunConfig, records: Sequence[Voted], best_round: int, *, sums_once: bool = False
) -> None:
    """Stop a run whose models were rejected more often in a row than is repeated.

    The rounds are durable and in the ledger.

    Args:
        config: What was agreed.
        records: All rounds that have ended.
        best_round: The best round that was accepted; 0 without one.
        sums_once: Whether members add sums to the model in round 1 alone.

    Raises:
        RejectedModelError: If so, if the last round is rejected and none was accepted, or if the
            sums of round 1 are lost with it.
    """
    count = rejections_in_a_row(records)
    if config.vote is None or not count:
        return
    last = records[-1]
    if sums_once and len(records) == count:
        assert last.vote is not None
        # A second sum of one list could be subtracted from the first: it is never sent again.
        raise RejectedModelError(
            f"the members reject the model of round {last.round} ({last.vote.reasons}), and with it"
            " the lists that a blend sums in round 1 alone: repeated, the run would go on without"
            " them; it stops. Begin a new run, which is charged and recorded as one"
        )
    no_round_left = last.round >= config.rounds and not best_round
    if count <= config.vote.repeats and not no_round_left:
        return
    assert last.vote is not None
    kept = f"round {best_round} is the best that was accepted" if best_round else "none is accepted"
    times = f", and {count} in a row" if count > 1 else ""
    raise RejectedModelError(
        f"the members reject the model of round {last.round} ({last.vote.reasons}){times};"
        f" {config.vote.repeats} repeats were agreed; the run stops: {kept}"
    )
