"""A member's ballot under shared noise: refused or charged first, then read off noised data."""

from __future__ import annotations

from functools import partial

import numpy as np

from securefl.config.schema import RunConfig
from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.releases import recorded_mechanism
from securefl.consortium.ledger.vote_events import Ballot
from securefl.federation.member.updates.distributed_dp import DistributedUpdates
from securefl.federation.scores.judgement import ABSTAIN, ACCEPT, DIRECTION
from securefl.federation.scores.noised_judgement import PublicChange
from securefl.ml.vectors import FloatVector, model_digest
from securefl.privacy.noise.csprng import member_stream
from securefl.privacy.noise.shares import NoisePlan
from securefl.privacy.round_updates import RoundTraining
from securefl.privacy.vote_plan import projection_noise


class NoisedVotes:
    """The ballots of one member whose updates have a share of the noise alone.

    Args:
        config: What was agreed.
        members: Members of the consortium.
        ledger: The member's ledger.
    """

    def __init__(self, config: RunConfig, members: int, ledger: MemberLedger) -> None:
        self._config, self._members, self._ledger = config, members, ledger

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
        model = model_digest(ended).hex()
        assert isinstance(trainer, DistributedUpdates)  # of every mechanism that shares noise
        noise = projection_noise(self._config, trainer.plan.code.sensitivity.l2)
        change = PublicChange.of(self._config, self._members, began, ended)
        step = 2.0**-trainer.plan.code.bits
        if noise is None or change is None or not change.tells(step * noise.share_variance**0.5):
            return self._abstained(number, model)
        stream = member_stream(
            self._config.privacy, self._ledger.name, self._config.rounds + 1 + number
        )
        drawn = np.empty(1, dtype=np.int64)
        noise.sampler().fill(stream, drawn)
        projection = trainer.projection(number, change.direction)
        if projection is None:  # forgotten by a restart: nothing is charged, and nothing said
            return self._abstained(number, model)
        share = change.share(step * (projection + int(drawn[0])))
        settings = self._config.vote
        assert settings is not None
        said = DIRECTION if share < settings.direction else ACCEPT
        try:
            return self._charged((number, model, said), noise, stream.description)
        except RefusedError as error:
            self._ledger.refuse(error.refusal)
            return self._abstained(number, model)

    def _abstained(self, number: int, model: str) -> Ballot:
        event = Ballot(round=number, model=model, ballot=ABSTAIN)
        self._ledger.record(event)
        return event

    def _charged(self, said: tuple[int, str, str], noise: NoisePlan, rng: str) -> Ballot:
        """Charge the noised projection and record the ballot in one transaction; nothing left yet.

        Raises:
            RefusedError: If the member's cap does not allow it; nothing is charged.
        """
        event = noise.event.with_steps(1)
        mechanism = recorded_mechanism(
            self._config.privacy, event, clip_norm=noise.sensitivity.l2, rng=rng
        )
        made: list[Ballot] = []
        entry = partial(_ballot, self._config, said, mechanism, made)
        self._ledger.charge_entry(said[0], mechanism, entry)
        return made[0]


def _ballot(
    config: RunConfig,
    said: tuple[int, str, str],
    mechanism: Mechanism,
    made: list[Ballot],
    *,
    before: float,
    after: float,
) -> Ballot:
    number, model, ballot = said
    made.append(
        Ballot(
            round=number,
            model=model,
            ballot=ballot,
            mechanism=mechanism,
            delta=config.privacy.delta,
            epsilon_before=before,
            epsilon_after=after,
        )
    )
    return made[-1]
