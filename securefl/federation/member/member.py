"""A member: its data, its model, its answers to the coordinator; independent of the engine.

What is answered, and when, is decided by the table in `answers.py` alone; here stands how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgpack

from securefl.config.vote_rounds import is_voted_on
from securefl.consortium.ledger.events import QuestionRefusal
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.round_records import records_of
from securefl.consortium.ledger.witness import UnverifiedTreeHead
from securefl.federation import messages as m
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.member.answer_gate import AnswerGate
from securefl.federation.member.answers import ANSWERS, Phase, Protection
from securefl.federation.member.checkpoint import (
    begin_with,
    write_outputs,
)
from securefl.federation.member.known_models import AgreedStart, MemberModels
from securefl.federation.member.open_session import TrainedUpdate
from securefl.federation.member.outcomes import SeenOutcomes
from securefl.federation.member.own_figures import (
    CarriedModel,
    OwnFigures,
    keep_result,
    keep_to_itself,
    kept_result,
    write_figures,
)
from securefl.federation.member.replying import reply_to
from securefl.federation.member.rounds import MemberRounds, in_the_clear
from securefl.federation.member.scoring import MemberScoring, local_only_result
from securefl.federation.member.secure_client import MaskedMember
from securefl.federation.member.spec import MemberSpec
from securefl.federation.member.sum_watch import SumWatch
from securefl.federation.member.updates.factory import round_training
from securefl.federation.member.updates.run_budget import account_of
from securefl.federation.member.votes import KnownSums, MemberVotes
from securefl.federation.scores.party import ScoreParty
from securefl.ml.parameters import load_local, load_shared, shared_layout
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.registry import create_task
from securefl.tasks.served.starting import own_start


class Member:
    """A member that answers the coordinator's messages, one at a time."""

    def __init__(self, spec: MemberSpec, ledger: MemberLedger) -> None:
        self.ledger, self._spec = ledger, spec
        self.directory = spec.directory
        self.config = spec.config
        self.learner = LocalProblem(spec.config, create_task(spec.config), spec.facts, spec.data)
        self.model = self.learner.fresh_model("init")
        self.trainer = round_training(
            self.learner, self.model, spec.directory, ledger, len(spec.consortium.roster)
        )
        begin_with(own_start(self.learner, self.model, spec.vocabulary), self.model, self.trainer)
        voted = partial(is_voted_on, spec.config)
        self.rounds = MemberRounds(self.model, self.trainer, self.ledger, spec.memory, voted)
        own = spec.name, spec.identity, spec.consortium, records_of(ledger), spec.entropy
        self.masked = MaskedMember(*own, start=AgreedStart(self.learner, spec.vocabulary))
        watch = self.masked.watch = SumWatch.of(self.model, spec.config)
        self.scoring = MemberScoring(self.learner, self.model, self.rounds)
        self.scores = ScoreParty(spec, ledger, self.scoring)
        sums = KnownSums(self.masked.summed, watch.row_score)
        self._votes = MemberVotes(spec, self.scoring, self.rounds, ledger, sums)
        self.masked.verifier.rejected = self.rounds.rejected = self._votes.rejected
        self.masked.verifier.undecided = self._votes.undecided
        self.masked.verifier.unvoted = self._votes.unvoted
        self._names = spec.consortium.roster.names
        self._units = mechanism_for(spec.config.privacy).units(spec.data.units, len(self._names))
        seen, layout = self.masked.verifier, shared_layout(self.model)
        self._models = MemberModels(self.learner, ledger, self.rounds, seen, self._names)
        self._outcomes = SeenOutcomes(spec.consortium, ledger, seen, layout)
        allowed = ANSWERS, Protection.of(spec.config)
        self._gate = AnswerGate(*allowed, self._record_refused, self._models)
        self._result: FloatVector | None = None
        self._own_machine, self._saved = spec.own_machine, 0
        self._carried = CarriedModel(self.learner, spec.vocabulary, spec.consortium)
        self._answers: dict[type[m.Message], Callable[[Any], m.Message]] = {
            m.StartRun: self._begin,
            m.Train: self._train,
            m.TrainMasked: self._train_masked,
            m.Protocol: self.masked.receive,
            m.ScoreRequest: self._enter_scores,
            m.ScoreProtocol: self.scores.receive,
            m.VoteRequest: self._votes.answer,
            m.Evaluate: self._evaluate,
            m.Conclude: self._conclude,
            m.Finish: self._finish,
            m.ShowHead: self._countersign,
            m.BudgetRequest: self._spent,
            m.BaselineRequest: self._naive,
            m.Keep: self._keep,
            m.Deliver: self._deliver,
            m.LocalOnlyRequest: self._train_alone,
            m.Save: self._save,
            m.Restore: self._restore,
        }

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the reply to one message; an error becomes a `Failure`, whatever it is."""
        return reply_to(message, self._answer)

    def _answer(self, request: m.Message) -> m.Message:
        answer = self._answers[self._gate.admit(request).question]
        return self._outcomes.noting(request, answer)

    def close(self) -> None:
        """Close its ledger."""
        self.ledger.close()

    def _record_refused(self, question: str, phase: str, reason: QuestionRefusal) -> None:
        self.ledger.begin(self._units, self._models.start())  # a chain begins with it
        self.ledger.refuse_question(question, phase, reason)

    def _train(self, request: m.Train) -> m.Update:
        cohort = agreed_cohort(self.config, self._names, request.round)
        update = self._update(request.round, request.shared, cohort, self._gate.model)
        return in_the_clear(update)

    def _train_masked(self, request: m.TrainMasked) -> m.Message:
        self._models.vector(request.shared)
        # Admitted before it is trained: a request that is not what was agreed costs no budget.
        digest = self.masked.admit(request)
        update = self._update(request.round, request.shared, request.cohort, digest)
        return self.masked.enter(request, update)

    def _update(
        self, number: int, shared: bytes, cohort: tuple[str, ...], digest: bytes
    ) -> TrainedUpdate:
        """Return the update of a round that starts from a shared model as it travels."""
        return self.rounds.update_of(number, self._models.vector(shared), cohort, digest)

    def _evaluate(self, request: m.Evaluate) -> m.Scores:
        shared = self._models.vector(request.shared)
        if not request.kept:
            self._models.tell(
                request.round, self._gate.model or self.masked.verifier.digest_of(shared)
            )
        tallies = self.scoring.score(shared, request.split, "kept" if request.kept else "present")
        return m.Scores(tallies=m.pack_tallies(tallies))

    def _enter_scores(self, request: m.ScoreRequest) -> m.Message:
        shared = self._models.vector(request.shared)
        return self.scores.enter(request, shared, partial(self._may_score, request.proof))

    def _may_score(self, proof: bytes, number: int, shared: FloatVector) -> bool:
        """Return whether the sum of this number is of this model: a round's, or the result."""
        if number <= self.config.rounds:
            digest = self.masked.verifier.digest_of(shared)
            return number > 0 and self._models.ended_with(number, digest, proof)
        return self._result is not None and model_digest(self._result) == model_digest(shared)

    def _spent(self, _: m.BudgetRequest) -> m.BudgetResponse:
        if (account := account_of(self.trainer.spending(), self.ledger)) is None:
            raise m.MessageError("this member keeps no account of a budget")
        return account

    def _begin(self, request: m.StartRun) -> m.Entries:
        self.ledger.begin(self._units, self._models.start())
        # Where the log has more entries than the ledger, this is an old copy: no round is entered.
        entries = self._entries(request.since)
        self._gate.advance(Phase.IN_ROUNDS)
        return entries

    def _conclude(self, request: m.Conclude) -> m.Entries:
        # The entry is signed: it says nothing of a round that this member did not see.
        event = self._outcomes.recorded(request)
        vote = self._votes.shown(request)
        self._models.tell(request.round, request.model)
        self.ledger.conclude(event)
        self._votes.record(vote)
        if vote is not None and vote.rejected:
            self.rounds.take_back(vote.round)
        if request.round == self.config.rounds:
            self._gate.advance(Phase.ROUNDS_ENDED)
        return self._entries(request.since)

    def _finish(self, request: m.Finish) -> m.Entries:
        keep_to_itself(self._write_outputs, self.config)
        self.ledger.end(request.rounds)
        self._gate.advance(Phase.CLOSED)
        return self._entries(request.since)

    def _write_outputs(self) -> None:
        """Write the member's predictions into its own folder, and the model that makes them."""
        if self._result is None:
            return
        load_shared(self.model, self._result)
        load_local(self.model, self.rounds.kept)
        write_outputs(self.directory, self.learner.local_outputs(self.model))
        if not self._own_machine:  # there, once no other party waits: `write_figures`
            self._write_model(self._result)

    def _write_model(self, shared: FloatVector) -> None:
        """Write what the member serves from now on into its own folder."""
        account, kept = account_of(self.trainer.spending(), self.ledger), self.rounds.kept
        self._carried.write(self.directory, shared, kept, account, self.rounds.moments())

    def write_figures(self, *, local_only: bool) -> OwnFigures | None:
        """Write this retailer's own figures into its own folder; None where it has no result.

        Args:
            local_only: Whether to train without the federation, for comparison.

        Raises:
            RunDirectoryError: If a file is damaged or cannot be written.
        """
        if (result := kept_result(self.directory)) is None:
            return None
        shared, self.rounds.kept = result
        self._write_model(shared)
        account, entries = account_of(self.trainer.spending(), self.ledger), self.ledger.entries(0)
        self._carried.give_away(self.directory, shared, account, entries)
        own, named = (self.directory, self.learner, self.scoring, shared), self._carried.vocabulary
        return write_figures(*own, vocabulary=named, local_only=local_only)

    def _entries(self, since: int) -> m.Entries:
        return m.Entries(entries=self.ledger.entries(since), signed=self.ledger.signed_size())

    def _countersign(self, request: m.ShowHead) -> m.Countersigned:
        places = {sequence: (place, proof) for sequence, place, proof in request.inclusions}
        shown = UnverifiedTreeHead(request.head, request.consistency, places)
        return m.Countersigned(signature=self.ledger.countersign(shown))

    def _naive(self, request: m.BaselineRequest) -> m.Scores:
        return m.Scores(tallies=m.pack_tallies(self.scoring.baseline(request.split)))

    def _keep(self, request: m.Keep) -> m.Done:
        self.rounds.keep()
        return m.Done()

    def _deliver(self, request: m.Deliver) -> m.Done:
        self._result = self._models.result(request.round, request.shared)
        if self._own_machine:
            keep_result(self.directory, self._result, self.rounds.kept)
        return m.Done()

    def _train_alone(self, request: m.LocalOnlyRequest) -> m.LocalOnlyResult:
        settings = self.config.references.alone
        start = self._models.vector(request.shared)
        return local_only_result(self.learner.by_itself(), settings, start)

    def _save(self, request: m.Save) -> m.Done:
        self._models.check_saved(request.round, self.rounds.newest(self._saved))
        self.rounds.save(self.directory, request.round, before=self._saved)
        self._saved = request.round
        return m.Done()

    def _restore(self, request: m.Restore) -> m.Done:
        # Taken back, the round would be trained again and enter a second sum.
        if request.round < self.masked.last_unmasked:
            raise m.MessageError("a round whose sum was unmasked is not taken back")
        self.rounds.go_back_to(self.directory, request.round)
        self.rounds.take_back_again()
        return m.Done()

    def anew(self) -> Member:
        """Return this member as it was built, with its ledger, as if it had answered nothing."""
        return Member(self._spec, self.ledger)

    def begin_after_loss(self) -> None:
        """Without a journal, enter no round of which the ledger has a release."""
        # This member may have been in its sum before it lost the journal. A new one has no release.
        self.masked.earliest = self.ledger.last_round() + 1
        # A coordinator that goes on does not ask for the start a second time.
        self._gate.advance(self._models.recorded_phase())

    @property
    def vote_room(self) -> int:
        """Most bytes that votes add to what it keeps of a round.

        Local parameters and two moments of each parameter, as they were before it; own update and
        change of two rounds.
        """
        numbers = sum(parameter.numel() for parameter in self.model.parameters())
        return 0 if self.config.vote is None else 7 * 4 * numbers

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as it travels; None if unknown."""
        return self.masked.following()

    def state(self) -> bytes:
        """Return what a restarted member needs besides its saved states; secret."""
        fields = {
            "saved": self._saved,
            "gate": self._gate.state(),
            "masked": self.masked.state(),
            "scores": self.scores.last,
            "votes": self._votes.state(),
            "told": list(self._models.told.items()),
        }
        return bytes(msgpack.packb(fields))

    def restore(self, state: bytes) -> None:
        """Take up a `state` in a member that has answered nothing yet.

        Raises:
            RunDirectoryError: If its saved state is not there.
        """
        fields = msgpack.unpackb(state, use_list=False)
        if fields["saved"]:
            self.rounds.go_back_to(self.directory, fields["saved"])
        self._saved = fields["saved"]
        self._gate.restore(fields["gate"])
        self.scores.last = fields["scores"]
        self._models.told = dict(fields["told"])
        self.masked.restore(fields["masked"])
        self._votes.restore(fields.get("votes", self._votes.state()))
