"""A member's ballot under shared noise: charged first, then read off its data through noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from securefl.config.schema import RunConfig
from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.releases import recorded_mechanism
from securefl.consortium.ledger.vote_events import Ballot
from securefl.federation.member.updates.distributed_dp import DistributedUpdates
from securefl.federation.scores.judgement import ABSTAIN, ROW
from securefl.federation.scores.noised_judgement import PublicChange, noised_ballot
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.noise.csprng import AesCtrRng, member_stream
from securefl.privacy.noise.shares import NoisePlan
from securefl.privacy.round_updates import RoundTraining
from securefl.privacy.vote_plan import grid_shift, projection_noise
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise.skellam import Skellam


class NoisedVotes:
    """The ballots of one member whose updates have a share of the noise alone.

    Args:
        config: What was agreed.
        parties: Members of the consortium, and those in the round's sum; None where the member
            does not know them.
        ledger: The member's ledger.
        row_score: How far a product's row stands out in the round's sum.
    """

    def __init__(
        self,
        config: RunConfig,
        parties: tuple[int, int | None],
        ledger: MemberLedger,
        row_score: float,
    ) -> None:
        self._config, self._ledger, self._row_score = config, ledger, row_score
        self._members, self._survivors = parties

    def give(
        self, number: int, trainer: RoundTraining, began: FloatVector, ended: FloatVector
    ) -> Ballot:
        """Return a ballot that is recorded, and charged where it says anything.

        Whether it abstains for the size of the noise follows from the public change alone.

        Args:
            number: The round.
            trainer: Knows the member's sum of the round without noise.
            began: The model that the round began from, float32 [d].
            ended: The model that it ended with, float32 [d].
        """
        assert isinstance(trainer, DistributedUpdates)  # of every mechanism that shares noise
        code = trainer.plan.code
        noise = projection_noise(self._config, code)
        model = model_digest(ended)
        assert self._config.vote is not None
        most = self._config.vote.row
        if most is not None and self._row_score > most:  # of the sum, which is public: free
            return self._free(number, model, ROW)
        if self._survivors is None:  # it did not verify the sum: of what noise, it cannot tell
            return self._abstained(number, model)
        change = PublicChange.of(self._config, self._members, self._survivors, began, ended)
        if noise is None or change is None or not trainer.remembers(number):
            return self._abstained(number, model)
        bits = code.bits - grid_shift(self._config, code.sensitivity.l2)
        if not change.tells(noise.share_variance**0.5, bits):
            return self._abstained(number, model)
        stream = self._stream(number)
        read = partial(_read, self._config, trainer, change, partial(_drawn, noise, stream))
        try:
            return self._charged((number, model), noise, stream.description, read)
        except RefusedError as error:
            self._ledger.refuse(error.refusal)
            return self._abstained(number, model)

    def _stream(self, number: int) -> AesCtrRng:
        """Return random numbers that no round and no score uses, also under a testing seed."""
        place = self._config.rounds + 1 + number
        return member_stream(self._config.privacy, self._ledger.name, place)

    def _abstained(self, number: int, model: bytes) -> Ballot:
        return self._free(number, model, ABSTAIN)

    def _free(self, number: int, model: bytes, said: str) -> Ballot:
        event = Ballot(round=number, model=model.hex(), ballot=said)
        self._ledger.record(event)
        return event

    def _charged(
        self, about: tuple[int, bytes], noise: NoisePlan, rng: str, read: Callable[[], str]
    ) -> Ballot:
        """Charge, read the ballot, and record it: one transaction, of which nothing has left.

        Raises:
            RefusedError: If the member's cap does not allow it; nothing is charged or read.
        """
        event, made = noise.event.with_steps(1), list[Ballot]()
        mechanism = recorded_mechanism(
            self._config.privacy, event, clip_norm=noise.sensitivity.l2, rng=rng
        )

        def entry(*, before: float, after: float) -> Ballot:
            made.append(self._ballot(about, mechanism, read(), (before, after)))
            return made[0]

        self._ledger.charge_entry(about[0], mechanism, entry)
        return made[0]

    def _ballot(
        self,
        about: tuple[int, bytes],
        mechanism: Mechanism,
        said: str,
        epsilon: tuple[float, float],
    ) -> Ballot:
        return Ballot(
            round=about[0],
            model=about[1].hex(),
            ballot=said,
            mechanism=mechanism,
            delta=self._config.privacy.delta,
            epsilon_before=epsilon[0],
            epsilon_after=epsilon[1],
        )


@lru_cache(maxsize=1)
def _sampler(noise: NoisePlan) -> DiscreteGaussian | Skellam:
    """Return the sampler of all ballots of a run: its tables are most of what one number costs."""
    return noise.sampler()


def _drawn(noise: NoisePlan, stream: AesCtrRng) -> int:
    drawn = np.empty(1, dtype=np.int64)
    _sampler(noise).fill(stream, drawn)
    return int(drawn[0])


def _read(
    config: RunConfig, trainer: DistributedUpdates, change: PublicChange, drawn: Callable[[], int]
) -> str:
    assert config.vote is not None
    code = trainer.plan.code
    shift = grid_shift(config, code.sensitivity.l2)
    noised = trainer.projection(change.direction, shift) + drawn()
    return noised_ballot(config.vote, change, noised, code.bits - shift)
