"""The parameters of a run's release of scores, which members and coordinator compute each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from securefl.config.cohort import least_survivors
from securefl.config.score_bounds import ScoreTable
from securefl.consortium.agreement.context import Consortium
from securefl.federation.scores.bounded import Integers, sensitivity
from securefl.privacy.noise.shares import NoisePlan
from securefl.privacy.score_plan import SCORES_LABEL, score_noise, score_table, table_digest
from securefl_protocols.primitives.ring import RingDtype, RingVector
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.context import SessionContext, labelled_digest

RING: Final = RingDtype.UINT64
"""Bounded integers of 2^20 units of 2^12 steps, of any number of members, and noise: below 2^63."""


@dataclass(frozen=True)
class ScoreTerms:
    """The terms of one masked sum of scores.

    Attributes:
        table: The bounds of the scores in it.
        noise: The noise of each member.
        number: Number of the sum: one more than the rounds of the run.
        plan: The session's plan.
        context: Bound into every message of it.
    """

    table: ScoreTable
    noise: NoisePlan
    number: int
    plan: SessionPlan
    context: SessionContext = field(repr=False)


def score_terms(consortium: Consortium) -> ScoreTerms | None:
    """Return the terms of the scores of a run under a budget; None where no score leaves.

    All members of the agreement are asked, so that the sum hides each among as many as possible.

    Raises:
        ConfigError: If no honest member is left in a sum.
        PlanError: If the consortium is too small for a masked sum.
    """
    config, names = consortium.config, consortium.roster.names
    table = score_table(config)
    if table is None:
        return None
    noise = score_noise(config, len(names), sensitivity(table))
    if noise is None:
        return None
    number = config.rounds + 1
    plan, context = score_session(consortium, table_digest(table), number, table.dimension)
    return ScoreTerms(table, noise, number, plan, context)


def scored(model: bytes) -> bytes:
    """Return the digest that a session is opened for, 32 bytes, from that of the scored model.

    Not the model's digest itself: no message of a round's session can stand in one of scores.
    """
    return labelled_digest(SCORES_LABEL, b"model", model)


def ring_vector(integers: Integers) -> RingVector:
    """Return integers as ring elements, uint64 [d]."""
    return integers.astype(RING.signed_dtype).view(RING.dtype)


def score_session(
    consortium: Consortium, scores: bytes, number: int, dimension: int
) -> tuple[SessionPlan, SessionContext]:
    """Return plan and context of a session of one sum of scores among all members."""
    names, agreed = consortium.roster.names, consortium.digest()
    plan = SessionPlan.for_cohort(
        members=len(names),
        dimension=dimension,
        ring=RING,
        largest_input=RING.largest // len(names),
        terms=labelled_digest(
            SCORES_LABEL,
            agreed,
            scores,
            number.to_bytes(8, "big"),
            *(name.encode() for name in names),
        ),
        rounds=1,
        min_members=least_survivors(consortium.config.cohort, len(names)),
    )
    return plan, SessionContext(agreed, consortium.run_id, plan.digest())
