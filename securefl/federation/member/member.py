"""A member: its data, its model, its answers to the coordinator; independent of the engine.

A member answers what one table allows (`Member._answers`), and refuses everything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from securefl.config.schema import RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.data_custody import LedgerContext, RefusedError
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.witness import UnverifiedTreeHead
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.member.checkpoint import NoOpStore, UpdateStore, write_outputs
from securefl.federation.member.refusing import RefusingMember, refused
from securefl.federation.member.rounds import MemberRounds
from securefl.federation.member.secure_client import MaskedMember, TrainedUpdate
from securefl.federation.member.updates.factory import round_training
from securefl.ml.parameters import load_local, load_shared, local_state, shared_vector
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.base import MemberData
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_only
from securefl.tasks.registry import create_task
from securefl_protocols.primitives.entropy import Entropy


@dataclass(frozen=True)
class MemberSpec:
    """Everything that a process needs to host a member.

    Attributes:
        config: The run's configuration.
        facts: The task's agreed public metadata.
        data: This member's data.
        directory: The member's folder for its state between rounds.
        custody: The member's ledger and policy.
        consortium: The parties and their agreement, as this member knows them.
        identity: The member's private Ed25519 key, 32 bytes.
        discloses: Whether it discloses updates when asked; for `securefl compare` alone.
        entropy: The source of its session's randomness.
        memory: Keeps a training for a restart in the middle of a round.
    """

    config: RunConfig
    facts: Any
    data: MemberData
    directory: Path
    custody: LedgerContext
    consortium: Consortium
    identity: bytes = field(repr=False)
    discloses: bool = False
    entropy: Entropy = os.urandom
    memory: UpdateStore = field(default_factory=NoOpStore)

    @property
    def name(self) -> str:
        """The member's name."""
        return self.data.name

    @property
    def cost(self) -> int:
        """Number of training samples."""
        return self.data.samples

    def ledger(self) -> MemberLedger:
        """Return the member's ledger; its file is opened when it is first needed."""
        return MemberLedger(self.name, self.identity, self.consortium, self.custody, self.directory)

    def build(self) -> Member | RefusingMember:
        """Return the member; one whose policy forbids the run reads no data."""
        ledger = self.ledger()
        refusal = ledger.refusal()
        return Member(self, ledger) if refusal is None else RefusingMember(ledger, refusal)


class Member:
    """A member that answers the coordinator's messages, one at a time."""

    def __init__(self, spec: MemberSpec, ledger: MemberLedger) -> None:
        self.ledger = ledger
        self.directory = spec.directory
        self.config = spec.config
        self.learner = LocalProblem(spec.config, create_task(spec.config), spec.facts, spec.data)
        self.model = self.learner.fresh_model("init")
        self.trainer = round_training(
            self.learner, self.model, spec.directory, ledger, len(spec.consortium.roster)
        )
        self.rounds = MemberRounds(self.model, self.trainer, self.ledger, spec.memory)
        self.masked = MaskedMember(spec.name, spec.identity, spec.consortium, spec.entropy)
        self._reveals = spec.discloses
        self._names = spec.consortium.roster.names
        self.mechanism = mechanism_for(spec.config.privacy)
        self._units = self.mechanism.units(spec.data.units, len(self._names))
        self._round_model: tuple[int, bytes] = (0, b"")
        self._result: FloatVector | None = None
        self._shape = shared_vector(self.model).shape
        self._answered: set[tuple[str | int, ...]] = set()
        self._saved = 0
        self._answers: dict[type[m.Message], Callable[[Any], m.Message]] = {
            m.StartRun: self._begin,
            m.Train: self._train,
            m.TrainMasked: self._train_masked,
            m.Protocol: self.masked.receive,
            m.DebugDisclose: self._reveal,
            m.Evaluate: self._evaluate,
            m.EvaluateReleased: self._evaluate_released,
            m.Conclude: self._conclude,
            m.Finish: self._finish,
            m.ShowHead: self._countersign,
            m.BudgetRequest: self._spent,
            m.BaselineRequest: self._naive,
            m.NoisedBaselineRequest: self._noised_baseline,
            m.Keep: self._keep,
            m.LocalOnlyRequest: self._train_alone,
            m.Save: self._save,
            m.Restore: self._restore,
        }

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the reply to one message; a user-facing error becomes a `Failure`."""
        try:
            request = m.decode(message)
            answer = self._answers.get(type(request))
            if answer is None:
                raise m.MessageError(f"a member does not answer '{request.kind}'")
            reply = answer(request)
        except RefusedError as error:
            reply = refused(error.refusal)
        except SecureflError as error:
            reply = m.Failure(error=error.wire_name, text=str(error))
        return [m.encode(reply)]

    def close(self) -> None:
        """Close its ledger."""
        self.ledger.close()

    def _train(self, request: m.Train) -> m.Update:
        if self.config.mode != "plain":
            raise m.MessageError(f"in mode '{self.config.mode}' no update is sent in the clear")
        cohort = agreed_cohort(self.config, self._names, request.round)
        return _in_the_clear(self._update(request.round, request.shared, cohort))

    def _train_masked(self, request: m.TrainMasked) -> m.Message:
        # Admitted before it is trained: a request that is not what was agreed costs no budget.
        self.masked.admit(request)
        update = self._update(request.round, request.shared, request.cohort)
        return self.masked.enter(request, update)

    def _reveal(self, request: m.DebugDisclose) -> m.Update:
        update = self.rounds.update
        if not self._reveals or update is None or update.round != request.round:
            raise m.MessageError("this member discloses no update")
        return _in_the_clear(update)

    def _update(self, number: int, shared: bytes, cohort: tuple[str, ...]) -> TrainedUpdate:
        """Return the update of a round that starts from a shared model as it travels."""
        start = self._shared(shared)
        self.ledger.begin(self._units)  # before data are used, even if `StartRun` was left out
        return self.rounds.update_of(number, start, cohort)

    def _shared(self, data: bytes) -> FloatVector:
        """Return a shared model from the wire, of this model's length."""
        vector = m.unpack_vector(data)
        if vector.shape != self._shape:
            raise m.MessageError(f"a model of {vector.shape[0]} coordinates is not ours")
        return vector

    def _once(self, *question: str | int) -> None:
        """Refuse a question that was answered: scores of arbitrary models would leak customers."""
        if question in self._answered:
            raise m.MessageError("this question was answered before")
        self._answered.add(question)

    def _evaluate(self, request: m.Evaluate) -> m.Scores:
        if not 0 <= request.round <= self.config.rounds:
            raise m.MessageError(f"round {request.round} was not agreed")
        if request.split == "validation" and self.mechanism.private:
            raise m.MessageError("under a budget no score of a single round is released")
        # Before the model is checked: models cannot be tried until one is accepted.
        self._once("evaluate", request.round, request.split)
        shared = self._shared(request.shared)
        if not request.kept and not self.masked.may_score(request.round, shared):
            raise m.MessageError(f"this is not the model that round {request.round} ended with")
        if not request.kept:
            self._round_model = (request.round, model_digest(shared))
        load_shared(self.model, shared)
        present = local_state(self.model)
        if request.kept:
            self._result = shared
            load_local(self.model, self.rounds.kept)
        tallies = self.learner.score(self.model, request.split)
        load_local(self.model, present)
        return m.Scores(tallies=m.pack_tallies(tallies))

    def _evaluate_released(self, request: m.EvaluateReleased) -> m.Scores:
        self._once("released")
        load_shared(self.model, self._shared(request.shared))
        return m.Scores(tallies=m.pack_tallies(self.learner.score_shared(self.model)))

    def _spent(self, request: m.BudgetRequest) -> m.BudgetResponse:
        del request
        spending = self.trainer.spending()
        if spending is None:
            raise m.MessageError("this member keeps no account of a budget")
        cap = self.ledger.cap
        return m.BudgetResponse(
            **asdict(spending),
            life=self.ledger.life_epsilon(),
            cap=cap.epsilon if cap else None,
            cap_delta=cap.delta if cap else None,
        )

    def _begin(self, request: m.StartRun) -> m.Entries:
        self.ledger.begin(self._units)
        return self._entries(request.since)

    def _conclude(self, request: m.Conclude) -> m.Entries:
        # The entry is signed: it must not say of a round what this member knows to be wrong.
        number, scored = self._round_model
        if number == request.round and scored != request.model:
            raise m.MessageError(f"round {number} ended with another model")
        number, survivors = self.masked.last_sum
        if number == request.round and survivors != request.survivors:
            raise m.MessageError(f"the sum of round {number} has other survivors")
        self.ledger.conclude(
            request.round,
            request.survivors,
            request.model.hex(),
            request.transcript.hex() if request.transcript else None,
        )
        return self._entries(request.since)

    def _finish(self, request: m.Finish) -> m.Entries:
        self._write_outputs()
        self.ledger.end(request.rounds)
        return self._entries(request.since)

    def _write_outputs(self) -> None:
        """Write the member's predictions into its own folder."""
        if self._result is None:
            return
        load_shared(self.model, self._result)
        load_local(self.model, self.rounds.kept)
        write_outputs(self.directory, self.learner.local_outputs(self.model))

    def _entries(self, since: int) -> m.Entries:
        return m.Entries(entries=self.ledger.entries(since), signed=self.ledger.signed_size())

    def _countersign(self, request: m.ShowHead) -> m.Countersigned:
        inclusions = {sequence: (place, proof) for sequence, place, proof in request.inclusions}
        shown = UnverifiedTreeHead(request.head, request.consistency, inclusions)
        return m.Countersigned(signature=self.ledger.countersign(shown))

    def _naive(self, request: m.BaselineRequest) -> m.Scores:
        tallies = self.learner.task.baseline(self.learner.data, request.split)
        return m.Scores(tallies=m.pack_tallies(tallies))

    def _noised_baseline(self, request: m.NoisedBaselineRequest) -> m.Scores:
        del request
        self._once("noised-naive")
        tallies = self.learner.task.noised_baseline(self.learner.data, "test")
        return m.Scores(tallies=m.pack_tallies(tallies))

    def _keep(self, request: m.Keep) -> m.Done:
        self.rounds.keep()
        return m.Done()

    def _train_alone(self, request: m.LocalOnlyRequest) -> m.LocalOnlyResult:
        references = self.config.references
        settings = references.alone if request.arm == "alone" else references.pooled
        self._once(request.arm)
        start = self._shared(request.shared)
        result = train_local_only(self.learner, settings, self.config.rounds, start)
        return m.LocalOnlyResult(
            best_round=result.best_round, tallies=m.pack_tallies(result.tallies)
        )

    def _save(self, request: m.Save) -> m.Done:
        self.rounds.save(self.directory, request.round)
        self._saved = request.round
        return m.Done()

    def _restore(self, request: m.Restore) -> m.Done:
        # Taken back, the round would be trained again and enter a second sum.
        if request.round < self.masked.last_unmasked:
            raise m.MessageError("a round whose sum was unmasked is not taken back")
        self.rounds.go_back_to(self.directory, request.round)
        return m.Done()

    def begin_after_loss(self) -> None:
        """Without a journal, enter no round of which the ledger has a release."""
        # This member may have been in its sum before it lost the journal. A new one has no release.
        self.masked.earliest = self.ledger.last_round() + 1

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as it travels; None if unknown."""
        return self.masked.following()

    def state(self) -> bytes:
        """Return what a restarted member needs besides its saved states; secret."""
        fields = {
            "saved": self._saved,
            "answered": sorted(self._answered, key=str),
            "model": self._round_model,
            "masked": self.masked.state(),
        }
        packed: bytes = msgpack.packb(fields)
        return packed

    def restore(self, state: bytes) -> None:
        """Take up a `state` in a member that has answered nothing yet.

        Raises:
            RunDirectoryError: If its saved state is not there.
        """
        fields = msgpack.unpackb(state, use_list=False)
        if fields["saved"]:
            self.rounds.go_back_to(self.directory, fields["saved"])
        self._saved, self._answered = fields["saved"], set(fields["answered"])
        self._round_model = fields["model"]
        self.masked.restore(fields["masked"])


def _in_the_clear(update: TrainedUpdate) -> m.Update:
    return m.Update(
        round=update.round,
        samples=update.samples,
        change=m.pack_vector(update.change.astype(np.float32, copy=False)),
        loss=update.loss,
    )
