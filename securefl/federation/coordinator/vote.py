"""The vote on a round's model: ask all members, keep what they signed, stop if they reject it."""

from __future__ import annotations

import logging
from typing import ClassVar

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import ModelProof, proved_requests
from securefl.federation.scores.ballots import Vote, is_of, vote_of
from securefl.federation.scores.judgement import ABSTAIN
from securefl.federation.transport.exchange import Exchange
from securefl.ml.vectors import FloatVector, model_digest

_log = logging.getLogger(__name__)


class RejectedModelError(SecureflError):
    """The agreed quorum of members rejects the model of a round; the run stops."""

    wire_name: ClassVar[str] = "RejectedModelError"


def is_voted_on(config: RunConfig, number: int) -> bool:
    """Return whether members vote on the model of a round."""
    return config.vote is not None and number % config.vote.every == 0


def hold_vote(
    exchange: Exchange,
    consortium: Consortium,
    members: tuple[str, ...],
    ended: tuple[int, FloatVector, ModelProof | None],
) -> Vote | None:
    """Return the vote on a round's model; None where none was agreed.

    A member that fails, is away, or signs something else abstains: it must not stop the others.

    Args:
        exchange: The way to the members.
        consortium: The parties and their agreement.
        members: Who takes part.
        ended: Number of the round, its model (float32 [d]), and what proves it.
    """
    number, shared, proof = ended
    settings = consortium.config.vote
    if settings is None or not is_voted_on(consortium.config, number):
        return None
    request = m.VoteRequest(round=number, shared=m.pack_vector(shared))
    replies = exchange.replies(proved_requests(consortium, request, members, proof))
    ballots, signatures, digest = dict.fromkeys(members, ABSTAIN), {}, model_digest(shared)
    for name, reply in replies.items():
        if not isinstance(reply, m.Ballot) or reply.round != number:
            _log.warning("round %d: %s did not vote", number, name)
        elif is_of(consortium, name, reply.signature, (number, digest, reply.ballot)):
            ballots[name], signatures[name] = reply.ballot, reply.signature.hex()
    return vote_of(settings, ballots, signatures)


def check_accepted(number: int, vote: Vote | None, best_round: int) -> None:
    """Stop a run whose last model was rejected; the round itself is durable and in the ledger.

    Args:
        number: The round.
        vote: The vote on its model; None where none was held.
        best_round: The best round that was accepted; 0 without one.

    Raises:
        RejectedModelError: If it was rejected.
    """
    if vote is None or not vote.rejected:
        return
    kept = f"round {best_round} is the best that was accepted" if best_round else "none is accepted"
    raise RejectedModelError(
        f"the members reject the model of round {number} ({vote.reasons}); the run stops: {kept}"
    )
