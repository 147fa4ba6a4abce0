"""A member's votes on models: its own ballot, recorded before it leaves, and the vote it is shown.

A member counts for itself: what a coordinator shows is signatures of members, and whether they
reject a model follows from the agreement alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from securefl.config.vote_rounds import is_voted_on
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.vote_events import Ballot, Vote
from securefl.federation import messages as m
from securefl.federation.member.open_session import TrainedUpdate
from securefl.federation.member.rounds import MemberRounds
from securefl.federation.member.scoring import MemberScoring
from securefl.federation.scores.ballots import Vote as Counted
from securefl.federation.scores.ballots import signed_ballot, vote_of
from securefl.federation.scores.judgement import ABSTAIN, Judge
from securefl.federation.scores.party import ScoreSpec
from securefl.federation.scores.turn import Part, RoundPart, Turn
from securefl.ml.parameters import shared_slices
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.mechanisms import mechanism_for
from securefl_protocols.primitives.signing import SigningKey


@dataclass(frozen=True)
class KnownSums:
    """What a member knows of the sums of rounds.

    Attributes:
        summed: Returns total weight and number of members of a round's sum; None where forgotten.
        row_score: Returns how far a product's row stands out in a round's sum.
    """

    summed: Callable[[int], tuple[int, int] | None]
    row_score: Callable[[int], float]


class MemberVotes:
    """Votes on the models of rounds, where the agreement says so.

    Args:
        spec: The member's spec.
        scoring: Judges models on its validation cases.
        rounds: Its rounds, with the model that each began from.
        ledger: Its ledger.
        sums: What it knows of the sums of rounds.
    """

    def __init__(
        self,
        spec: ScoreSpec,
        scoring: MemberScoring,
        rounds: MemberRounds,
        ledger: MemberLedger,
        sums: KnownSums,
    ) -> None:
        self._consortium, self._identity = spec.consortium, spec.identity
        self._scoring, self._rounds, self._ledger = scoring, rounds, ledger
        self._summed, self._row_score = sums.summed, sums.row_score
        # The round on the table under its number, and the last accepted one with the round that it
        # is looked at in. Kept for a restart: a party that crashes a member must not blind it.
        self._judged: tuple[int, RoundPart | None] = (0, None)
        self._accepted: tuple[int, RoundPart | None] = (0, None)

    def answer(self, request: m.VoteRequest) -> m.Ballot:
        """Return the member's ballot on the model that a round ended with; the same when asked on.

        Raises:
            MessageError: If no vote was agreed for the round, or it voted on another model.
        """
        self._check_agreed(request.round)
        shared, key = m.unpack_vector(request.shared), SigningKey.of(self._identity)
        digest = model_digest(shared)
        given = self._given(request.round) or self._newly_given(request.round, shared)
        if given.model != digest.hex():
            raise m.MessageError(f"this member voted on another model of round {request.round}")
        # After a restart, the ledger has the ballot alone. An older round that is asked again must
        # not leave the next one without a round to be compared with.
        if request.round > self._judged[0]:
            self._look_at(request.round, shared)
        signature = signed_ballot(self._consortium, key, request.round, digest, given.ballot)
        return m.Ballot(round=request.round, ballot=given.ballot, signature=signature)

    def shown(self, claim: m.Conclude) -> Vote | None:
        """Return the vote on a round's model, as this member counts it; None where none is held.

        Raises:
            MessageError: If a vote was agreed and none is shown, the reverse, or it is malformed.
            LedgerError: If another vote on the round is recorded already.
        """
        if not self._agreed(claim.round):
            if claim.vote:
                raise m.MessageError(f"no vote on round {claim.round} was agreed")
            return None
        if not claim.vote:
            raise m.MessageError(f"no vote on round {claim.round} is shown")
        shown = shown_vote(self._consortium, (claim.round, claim.model), claim.vote)
        event, known = shown.event(claim.round, claim.model), self._shown(claim.round)
        if known not in (None, event):
            raise LedgerError(f"another vote on round {claim.round} was shown before")
        return event

    def record(self, vote: Vote | None) -> None:
        """Record a vote that was shown, once."""
        if vote is None:
            return
        if self._shown(vote.round) is None:
            self._ledger.record(vote)
        # Shown again, a vote must not leave the next round without one to be compared with.
        if vote.round >= self._accepted[0]:
            self._accepted = vote.round + 1, self._kept(vote)

    def _kept(self, vote: Vote) -> RoundPart | None:
        """Return the last accepted round behind a vote; None where it is not known.

        A repeated round is compared with the last accepted one, like the one that it repeats.
        """
        number, part = self._accepted if vote.rejected else self._judged
        return part if number == vote.round else None

    def state(self) -> list[Any]:
        """Return what a restarted member needs to judge the next round, as plain values; secret."""
        # Behind its vote, a round is looked at as an accepted one alone.
        shown = self._judged[0] < self._accepted[0]
        kept = (0, None) if shown else self._judged, self._accepted
        return [[number, part and part.state()] for number, part in kept]

    def restore(self, state: Sequence[Any]) -> None:
        """Take up a `state`."""
        self._judged, self._accepted = (
            (number, part and RoundPart.restored(part)) for number, part in state
        )

    def rejected(self, number: int) -> bool:
        """Return whether a round's model was rejected, by the vote in the member's ledger."""
        vote = self._shown(number) if self._agreed(number) else None
        return vote is not None and vote.rejected

    def undecided(self, number: int) -> bool:
        """Return whether a vote on a round's model was agreed, and none is in the ledger yet."""
        return self._agreed(number) and self._shown(number) is None

    def unvoted(self, number: int) -> bool:
        """Return whether votes were agreed, and none on this round: its model is no result."""
        return self._consortium.config.vote is not None and not self._agreed(number)

    def _agreed(self, number: int) -> bool:
        return is_voted_on(self._consortium.config, number)

    def _check_agreed(self, number: int) -> None:
        if not self._agreed(number):
            raise m.MessageError(f"no vote on round {number} was agreed")

    def _given(self, number: int) -> Ballot | None:
        entry = self._ledger.privacy_ledger.entry_of(self._ledger.run, "ballot", number)
        return entry.event if entry is not None and isinstance(entry.event, Ballot) else None

    def _shown(self, number: int) -> Vote | None:
        entry = self._ledger.privacy_ledger.entry_of(self._ledger.run, "vote", number)
        return entry.event if entry is not None and isinstance(entry.event, Vote) else None

    def _newly_given(self, number: int, shared: FloatVector) -> Ballot:
        """Judge a model, and record the ballot before it leaves."""
        config, update, summed = self._consortium.config, self._update(number), self._summed(number)
        if update is not None and mechanism_for(config.privacy).shares_noise:
            # Noise takes long to import, and a run without a budget does not need it.
            from securefl.federation.member.noised_votes import NoisedVotes

            parties = len(self._consortium.roster.names), summed[1] if summed else None
            noised = NoisedVotes(config, parties, self._ledger, self._row_score(number))
            return noised.give(number, self._rounds.trainer, update.shared, shared)
        now, ballot = self._look_at(number, shared), ABSTAIN
        # One that verified no sum of the round may have no part in it: its update came too late.
        if update is not None and summed is not None:
            ballot = self._ballot(update, now, shared)
        event = Ballot(round=number, model=model_digest(shared).hex(), ballot=ballot)
        self._ledger.record(event)
        return event

    def _look_at(self, number: int, shared: FloatVector) -> RoundPart | None:
        """Put a round on the table; None where the member knows nothing of it to compare by."""
        update, summed, now = self._update(number), self._summed(number), None
        config = self._consortium.config
        shared_noise = mechanism_for(config.privacy).shares_noise  # see `NoisedVotes`
        if update is not None and summed is not None and not shared_noise:
            own = update.change, Part(update.samples / summed[0], summed[1])
            now = RoundPart.of(config.server, own, update.shared, shared)
        self._judged = number, now
        return now

    def _ballot(self, update: TrainedUpdate, now: RoundPart | None, shared: FloatVector) -> str:
        """Judge a model; the one that the round began from is the last accepted one."""
        config = self._consortium.config
        assert config.vote is not None
        judge = Judge(config.vote, self._scoring.metrics[0].higher_is_better)
        earlier = self._accepted[1] if self._accepted[0] == update.round else None
        row, layers = self._row_score(update.round), self._first_layers(update.round)
        found = judge.by_update(Turn.of(now, earlier, row, layers))
        # Under a budget the own update has left with all its noise, and was charged: what follows
        # from it and from the change costs nothing more. Held-out cases would.
        if mechanism_for(config.privacy).private or not judge.looks_at_cases(found):
            return found
        return judge.by_cases(self._scoring.judged(shared), self._scoring.judged(update.shared))

    def _first_layers(self, number: int) -> Sequence[slice]:
        """Return the model's layers in a round from a start that nobody has trained; else none.

        Noise of the own update would hide what it has in common with others.
        """
        config = self._consortium.config
        trained = config.goes_on or config.warm_start is not None
        if trained or mechanism_for(config.privacy).private:
            return ()
        first = all(self.rejected(earlier) for earlier in range(1, number))
        return shared_slices(self._rounds.model) if first else ()

    def _update(self, number: int) -> TrainedUpdate | None:
        """Return the member's own update of a round; None where it did not train in it."""
        update = self._rounds.update
        return update if update is not None and update.round == number else None


def shown_vote(consortium: Consortium, ended: tuple[int, bytes], data: bytes) -> Counted:
    """Return a vote that a coordinator shows, counted by the agreement; see `Vote.packed`.

    Raises:
        MessageError: If it is malformed, or a ballot in it is not that member's.
    """
    try:
        rows: Any = msgpack.unpackb(data)
        ballots = {str(name): str(said) for name, said, _ in rows}
        signatures = {str(name): bytes.fromhex(signed) for name, _, signed in rows}
    except (ValueError, TypeError, msgpack.UnpackException):
        raise m.MessageError("the vote is malformed") from None
    vote = vote_of(consortium, ended, ballots, signatures)
    if len(vote.ballots) != len(rows):
        raise m.MessageError(f"a ballot on round {ended[0]} is not by the member that it names")
    return vote
