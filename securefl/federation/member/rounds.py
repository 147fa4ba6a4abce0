"""A member's training, round by round: its model, and what it keeps of each round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.round_records import records_of
from securefl.federation import messages as m
from securefl.federation.member.checkpoint import (
    MemberState,
    StateBefore,
    UpdateStore,
    load_member,
    optimizer_state,
    pack_training,
    same_tensors,
    save_member,
    unpack_training,
)
from securefl.federation.member.open_session import TrainedUpdate
from securefl.ml.parameters import load_local, load_shared, local_state
from securefl.ml.vectors import FloatVector
from securefl.privacy.round_updates import RoundChange, RoundTraining


class MemberRounds:
    """The rounds that a member has trained; each is in its ledger before it leaves the member.

    Args:
        model: The member's model, whose shared parameters the rounds set.
        trainer: Trains it.
        ledger: The member's ledger.
        memory: Keeps a training for a restart in the middle of a round.
        voted: Whether members vote on a round, by its number: what it trains can be taken back.

    Attributes:
        update: The newest update.
        kept: The local parameters of the best round so far.
        start: The local parameters before the first round.
        model: The member's model.
        trainer: See above.
        rejected: Returns whether a vote in the ledger rejects a round, by its number.
    """

    def __init__(
        self,
        model: nn.Module,
        trainer: RoundTraining,
        ledger: MemberLedger,
        memory: UpdateStore,
        voted: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self.update: TrainedUpdate | None = None
        self.kept = local_state(model)
        self.start = self.kept
        self.model = model
        self.trainer = trainer
        self._ledger = ledger
        self._memory = memory
        self._voted = voted
        self.rejected: Callable[[int], bool] = lambda _: False
        self._before: StateBefore | None = None

    def update_of(
        self, number: int, start: FloatVector, cohort: tuple[str, ...], digest: bytes
    ) -> TrainedUpdate:
        """Return the update of a round; a round that is tried again is not trained again.

        Args:
            number: Number of the round.
            start: The shared model that it starts from, float32 [d].
            cohort: The members of the round, in roster order.
            digest: Digest of that model, as this member took it, 32 bytes.

        Raises:
            RefusedError: If the member's cap does not allow it.
        """
        self._ledger.enter(number, cohort, digest.hex())
        # Trained again, the round would be a second release with a noise of its own, to be charged
        # again. The same update, sent again, releases nothing new.
        done = self.update
        if done is not None and done.round == number and np.array_equal(done.shared, start):
            if not self._memory.replaying:
                self._record_repeat(number)
            return done
        self.update = self._remembered(number, start, digest) or self._newly_trained(
            number, start, digest
        )
        return self.update

    def _record_repeat(self, number: int) -> None:
        """Record that the update is sent again: once for each sum that shares left for."""
        # Asked again and again, a round adds no more to the ledger than its sums do.
        records = records_of(self._ledger)
        if not records.repeated(number):
            self._ledger.sent_again()
            records.repeat(number)

    def keep(self) -> None:
        """Keep the local parameters as those of the best round."""
        self.kept = local_state(self.model)

    def newest(self, saved: int) -> int:
        """Return the newest of the round that was trained last and the one that was saved last."""
        return max(saved, self.update.round if self.update else 0)

    def save(self, directory: Path, number: int, *, before: int) -> None:
        """Make the state after a round durable, and keep the one that was saved before it."""
        save_member(directory, number, replace(self._state(), before=self._before), before)

    def take_back(self, number: int) -> None:
        """Undo what a round trained that members rejected; the next one begins from before it.

        What left the member stays as it is: the update, its noise, its charge. Asked again, or for
        a round in which the member did not train, nothing changes.
        """
        before = self._before
        if before is not None and before.round == number:
            # Said to be the best before the vote was shown, the round would be served with these.
            if same_tensors(self.kept, local_state(self.model)):
                self.kept = before.local
            before.put_back(self.model, self.trainer.optimizer)
            self._before = None

    def take_back_again(self) -> None:
        """Undo what a saved state brought back of a round that is known to be rejected.

        A coordinator that names the state need not show the vote a second time.
        """
        if self._before is not None and self.rejected(self._before.round):
            self.take_back(self._before.round)

    def go_back_to(self, directory: Path, number: int) -> None:
        """Take up the state that was saved after a round.

        Raises:
            MessageError: If a round was trained since the start: its update is not trained again,
                and would stand beside local parameters of before.
            RunDirectoryError: If it is not there.
        """
        if self.update is not None:
            raise m.MessageError("a member that has trained since its start is not taken back")
        state = load_member(directory, number, self.trainer.optimizer)
        load_local(self.model, state.local)
        self.kept, self._before = state.kept, state.before

    def moments(self) -> dict[str, Tensor]:
        """Return the optimizer's state by `parameter/key`; see `optimizer_state`."""
        return optimizer_state(self.trainer.optimizer, self.model)

    def _state(self) -> MemberState:
        return MemberState(local_state(self.model), self.kept, self.trainer.optimizer)

    def _keep_before(self, number: int) -> None:
        """Keep what is now, before a round changes it; a second try of it began with the first."""
        if self._before is None or self._before.round != number:
            now = self.model, self.trainer.optimizer
            self._before = StateBefore.of(number, *now) if self._voted(number) else None

    def _newly_trained(self, number: int, start: FloatVector, digest: bytes) -> TrainedUpdate:
        self._keep_before(number)
        load_shared(self.model, start)
        done = self._train_within_budget(number)
        self._ledger.trained()
        packed = pack_training(torch.from_numpy(done.change), done.loss, done.layers, self._state())
        self._memory.keep(_name_of(number, digest), packed)
        weight = self.trainer.weight
        return TrainedUpdate(number, start, done.change, done.loss, weight, done.layers, digest)

    def _remembered(self, number: int, start: FloatVector, digest: bytes) -> TrainedUpdate | None:
        """Return the update of a training that was finished before a restart; None without one."""
        packed = self._memory.recall(_name_of(number, digest))
        if packed is None:
            return None
        self._keep_before(number)
        change, loss, layers, state = unpack_training(packed, self.trainer.optimizer)
        load_local(self.model, state.local)
        self.kept = state.kept
        weight = self.trainer.weight
        return TrainedUpdate(number, start, change.numpy(), loss, weight, layers, digest)

    def _train_within_budget(self, number: int) -> RoundChange:
        try:
            return self.trainer.train(number)
        except RefusedError as error:
            refusal = error.refusal.model_copy(update={"round": number})
            self._ledger.refuse(refusal)
            raise RefusedError(refusal) from None


def _name_of(number: int, start: bytes) -> str:
    """Return the name under which a round's training from a model, by its digest, is kept."""
    return f"training-{number}-{start.hex()}"


def in_the_clear(update: TrainedUpdate) -> m.Update:
    """Return an update as it travels without masks."""
    return m.Update(
        round=update.round,
        samples=update.samples,
        change=m.pack_vector(update.change.astype(np.float32, copy=False)),
        loss=update.loss,
    )
