"""What a member itself knows of the run's models: the start, its rounds, and how they ended."""

from __future__ import annotations

from collections.abc import Callable

import torch

from securefl.consortium.ledger.events import Outcome
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.federation import messages as m
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.member.answers import Phase
from securefl.federation.member.rounds import MemberRounds
from securefl.ml.parameters import shared_vector
from securefl.ml.vectors import FloatVector, model_digest
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.starting_model import starting_model


class MemberModels:
    """The models of one run, as one member knows them.

    Args:
        learner: The member's learning problem.
        ledger: Its ledger, with the outcomes of rounds.
        trained: Its own rounds.
        derived: Returns the digest that follows from a sum that the member verified, or None.
        names: All members, in roster order.
    """

    def __init__(
        self,
        learner: LocalProblem,
        ledger: MemberLedger,
        trained: MemberRounds,
        derived: Callable[[int], bytes | None],
        names: tuple[str, ...],
    ) -> None:
        self._learner = learner
        self._ledger = ledger
        self._trained = trained
        self._names = names
        self._derived = derived
        self._dimension = shared_vector(trained.model).shape[0]

    @property
    def rounds(self) -> int:
        """Number of agreed rounds."""
        return self._learner.config.rounds

    def concluded(self, number: int) -> bytes | None:
        """Return the digest that the member's entry on a round names; None without an entry."""
        entry = self._ledger.privacy_ledger.entry_of(self._ledger.run, "outcome", number)
        outcome = entry.event if entry else None
        return bytes.fromhex(outcome.model_after) if isinstance(outcome, Outcome) else None

    def may_have_ended(self, number: int, model: bytes) -> bool:
        """Return whether a round of its own, the newest, may have ended with this model."""
        known = self._derived(number) or self.concluded(number)
        if known is not None:
            return known == model
        update, config = self._trained.update, self._learner.config
        if self._learner.data.name in agreed_cohort(config, self._names, number):
            return update is not None and update.round == number
        # A round that it has no part in: the one behind the last that it has an entry on.
        return number == 1 or self.concluded(number - 1) is not None

    def recorded_phase(self) -> Phase:
        """Return where the run stands by the member's ledger, which outlives its other state."""
        ledger, run = self._ledger.privacy_ledger, self._ledger.run
        if ledger.run(run) is None:
            return Phase.BEFORE_START
        if ledger.entry_of(run, "end", 0) is not None:
            return Phase.CLOSED
        last = self.concluded(self.rounds)
        return Phase.IN_ROUNDS if last is None else Phase.ROUNDS_ENDED

    def start(self) -> bytes:
        """Return the digest of the agreed start, recomputed."""
        # The start is drawn from torch's global state, which training must find as it was.
        with torch.random.fork_rng(devices=[]):
            learner = self._learner
            return model_digest(starting_model(learner.config, learner.task, learner.facts))

    def vector(self, data: bytes) -> FloatVector:
        """Return a shared model from the wire, of this model's length, float32 [d].

        Raises:
            MessageError: If it is none.
        """
        vector = m.unpack_vector(data)
        if vector.shape != (self._dimension,):
            raise m.MessageError(f"a model of {vector.shape[0]} coordinates is not ours")
        return vector
