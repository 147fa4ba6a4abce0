"""The parameters of a run's release of scores, which members and coordinator compute each."""

from __future__ import annotations

from dataclasses import dataclass, field

from securefl.config.score_bounds import ScoreTable
from securefl.consortium.agreement.context import Consortium
from securefl.federation.scores.bounded import sensitivity
from securefl.federation.scores.session import score_session
from securefl.privacy.noise.shares import NoisePlan
from securefl.privacy.score_plan import score_noise, score_table, table_digest
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.context import SessionContext


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
