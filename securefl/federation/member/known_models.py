"""What a member itself knows of the run's models: the start, its rounds, and how they ended."""

from __future__ import annotations

import torch

from securefl.config.early_stopping import ends_early
from securefl.consortium.ledger.events import Outcome, UnseenOutcome
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.federation import messages as m
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.member.answers import Phase
from securefl.federation.member.model_verifier import ModelVerifier
from securefl.federation.member.rounds import MemberRounds
from securefl.ml.parameters import shared_vector
from securefl.ml.vectors import FloatVector, model_digest
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.served.starting import starting_model
from securefl.tasks.served.vocabulary import Vocabulary


class AgreedStart:
    """The digest of the agreed start, which is recomputed when it is first asked for."""

    def __init__(self, learner: LocalProblem, vocabulary: Vocabulary) -> None:
        self._learner, self._vocabulary = learner, vocabulary
        self._digest = b""

    def __call__(self) -> bytes:
        """Return it, 32 bytes."""
        if not self._digest:
            learner = self._learner
            # It is drawn from torch's global state, which training must find as it was.
            with torch.random.fork_rng(devices=[]):
                start = starting_model(
                    learner.config, learner.task, learner.facts, self._vocabulary
                )
            self._digest = model_digest(start)
        return self._digest


class MemberModels:
    """The models of one run, as one member knows them.

    Args:
        learner: The member's learning problem.
        ledger: Its ledger, with the outcomes of rounds.
        trained: Its own rounds.
        verifier: The models that follow from sums that the member verified.
        names: All members, in roster order.

    Attributes:
        told: Mode `plain`: round to the digest that the coordinator said first it ended with. Kept
            with the member's state.
    """

    def __init__(
        self,
        learner: LocalProblem,
        ledger: MemberLedger,
        trained: MemberRounds,
        verifier: ModelVerifier,
        names: tuple[str, ...],
    ) -> None:
        self._learner = learner
        self._ledger = ledger
        self._trained = trained
        self._names = names
        self._verifier = verifier
        self.start = verifier.start
        self.told: dict[int, bytes] = {}
        self._delivered = b""
        self._dimension = shared_vector(trained.model).shape[0]

    @property
    def rounds(self) -> int:
        """Number of agreed rounds."""
        return self._learner.config.rounds

    def early_end(self, best: int | None) -> int | None:
        """See `KnownModels.early_end`; the newest round with an entry of its end is the last."""
        config = self._learner.config
        ended = [n for n in range(1, config.rounds) if self._ledger.end_of_round(n) is not None]
        last = max(ended, default=0)
        return last if ends_early(config, last=last, best=1 if best is None else best) else None

    def concluded(self, number: int) -> bytes | None:
        """Return the digest that a round ended with; None where it is not recorded.

        By this member's entry or, in mode `plain`, by what the coordinator told first.
        """
        entry = self._ledger.end_of_round(number)
        if isinstance(entry, Outcome):
            return bytes.fromhex(entry.model_after)
        return self.told.get(number)

    def tell(self, number: int, model: bytes) -> None:
        """Hold the coordinator to the first model that it names for a round, in mode `plain`.

        Under masks nothing is taken on its word.

        Raises:
            MessageError: If it named another one before.
        """
        if self._learner.config.mode != "plain":
            return
        if self.told.setdefault(number, model) != model:
            raise m.MessageError(f"round {number} ended with another model")

    def is_recorded(self, number: int, model: bytes) -> bool:
        """Return whether the member's entry on a round names this model, or says "did not see"."""
        unseen = isinstance(self._ledger.end_of_round(number), UnseenOutcome)
        return unseen or self.concluded(number) == model

    def ended_with(self, number: int, model: bytes, proof: bytes = b"") -> bool:
        """Return whether a round ended with this model: as verified, recorded, or signed by t."""
        known = self._verifier.derived(number) if number else None
        known = known or self.concluded(number)
        return self._verifier.vouched(number, model, proof) if known is None else known == model

    def may_begin(self, number: int, model: bytes) -> bool:
        """Return whether a round in the clear may begin with this model: the last one's end."""
        if number == 1:
            return model == self.start()
        known = self.concluded(number - 1)
        if known is not None:
            return known == model
        # Said nothing of the round before, it would train any model, under any number. Without its
        # memory it has an entry at least, and the log has the model.
        return self._ledger.end_of_round(number - 1) is not None

    def may_have_ended(self, number: int, model: bytes) -> bool:
        """Return whether a round in the clear, the newest, may have ended with this model."""
        known = self.concluded(number)
        if known is not None:
            return known == model
        update, config = self._trained.update, self._learner.config
        if self._learner.data.name in agreed_cohort(config, self._names, number):
            return update is not None and update.round == number
        # A round that it has no part in: the one behind the last that it has an entry on.
        return number == 1 or self._ledger.end_of_round(number - 1) is not None

    def check_saved(self, number: int, newest: int) -> None:
        """Refuse to save a state under the number of another round than the newest.

        A saved state takes the place of older ones: with any numbers, all would be deleted.

        Args:
            number: The round that is asked for.
            newest: The last one that this member trained in or saved.

        Raises:
            MessageError: If it is another one.
        """
        follows = number == 1 or self._ledger.end_of_round(number - 1) is not None
        if number < newest or (number > newest and not follows):
            raise m.MessageError(f"round {number} is not the round that this member is in")

    def recorded_phase(self) -> Phase:
        """Return where the run stands by the member's ledger, which outlives its other state."""
        ledger, run = self._ledger.privacy_ledger, self._ledger.run
        if ledger.run(run) is None:
            return Phase.BEFORE_START
        if ledger.entry_of(run, "end", 0) is not None:
            return Phase.CLOSED
        last = self._ledger.end_of_round(self.rounds)
        return Phase.IN_ROUNDS if last is None else Phase.ROUNDS_ENDED

    def result(self, number: int, data: bytes) -> FloatVector:
        """Return the run's result from the wire, float32 [d]; there is one.

        Args:
            number: The round that ended with it.
            data: The model as it travels.

        Raises:
            MessageError: If another was delivered before. The scores of the run are of the first; a
                later one would be kept without any. Or if members rejected it, or this one was
                shown no vote that was agreed.
        """
        shared = self.vector(data)
        if self._verifier.undecided(number):
            raise m.MessageError(f"no vote on round {number} is shown, and its model no result")
        if self._verifier.unvoted(number):
            raise m.MessageError(f"members hold no vote on round {number}: its model is no result")
        if self._verifier.rejected(number):
            raise m.MessageError(f"members rejected the model of round {number}: it is no result")
        if self._delivered not in (b"", data):
            raise m.MessageError("another result was delivered before")
        self._delivered = data
        return shared

    def vector(self, data: bytes) -> FloatVector:
        """Return a shared model from the wire, of this model's length, float32 [d].

        Raises:
            MessageError: If it is none.
        """
        vector = m.unpack_vector(data)
        if vector.shape != (self._dimension,):
            raise m.MessageError(f"a model of {vector.shape[0]} coordinates is not ours")
        return vector
