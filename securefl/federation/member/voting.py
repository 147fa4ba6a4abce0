"""A member's ballots: its judge, fed with the two models of a round, and its signature."""

from __future__ import annotations

from securefl.federation import messages as m
from securefl.federation.member.rounds import MemberRounds
from securefl.federation.member.scoring import MemberScoring
from securefl.federation.scores.ballots import signed_ballot
from securefl.federation.scores.judgement import ABSTAIN, Judge
from securefl.federation.scores.party import ScoreSpec
from securefl.ml.vectors import FloatVector, model_digest
from securefl_protocols.primitives.signing import SigningKey


class MemberVotes:
    """Votes on the models of rounds, where the agreement says so.

    Args:
        spec: The member's spec.
        scoring: Judges models on its validation cases.
        rounds: Its rounds, with the model that each began from.
    """

    def __init__(self, spec: ScoreSpec, scoring: MemberScoring, rounds: MemberRounds) -> None:
        self._consortium, self._identity = spec.consortium, spec.identity
        self._scoring, self._rounds = scoring, rounds

    def answer(self, request: m.VoteRequest) -> m.Ballot:
        """Return the member's ballot on the model that a round ended with.

        The model that the round began from is the last accepted one: a rejected one ends the run.

        Raises:
            MessageError: If no vote was agreed for the round.
        """
        settings = self._consortium.config.vote
        if settings is None or request.round % settings.every:
            raise m.MessageError(f"no vote on round {request.round} was agreed")
        new, began = m.unpack_vector(request.shared), self._began(request.round)
        ballot = ABSTAIN
        if began is not None:
            judge = Judge(settings, self._scoring.metrics[0].higher_is_better)
            ballot = judge.ballot(self._scoring.judged(new), self._scoring.judged(began))
        key, digest = SigningKey(self._identity), model_digest(new)
        signature = signed_ballot(self._consortium, key, request.round, digest, ballot)
        return m.Ballot(round=request.round, ballot=ballot, signature=signature)

    def _began(self, number: int) -> FloatVector | None:
        """Return the model that a round began from; None where the member did not train in it."""
        update = self._rounds.update
        return update.shared if update is not None and update.round == number else None
