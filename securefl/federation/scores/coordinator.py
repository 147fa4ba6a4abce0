"""The coordinator's side of the scores: one session, one noised sum over all members."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from securefl.consortium.agreement.context import Consortium
from securefl.errors import ConfigError
from securefl.federation import messages as m
from securefl.federation.aggregation.session_driver import ServerSessionRunner
from securefl.federation.scores.bounded import Integers
from securefl.federation.scores.session import RING, scored
from securefl.federation.scores.terms import ScoreTerms, score_terms
from securefl.federation.transport.exchange import Exchange, said_once
from securefl.ml.vectors import FloatVector, model_digest
from securefl_protocols.primitives.errors import PlanError, ProtocolError
from securefl_protocols.session.server import ServerSession


@dataclass(frozen=True)
class ScoreSum:
    """The summed integers of the scores, with the noise that is in them.

    Attributes:
        terms: What was agreed.
        total: Sum of the survivors' integers and noise, int64 [d].
        survivors: The members that are in it.
    """

    terms: ScoreTerms
    total: Integers
    survivors: tuple[str, ...]

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise in a coordinate, in integer units."""
        return self.terms.noise.summed_deviation(len(self.survivors))


def sum_scores(exchange: Exchange, consortium: Consortium, shared: FloatVector) -> ScoreSum | str:
    """Return the sum of all members' scores, or why there is none.

    A run whose scores fail is no failed run: members that had entered stay charged, and nothing is
    asked again.

    Args:
        exchange: The way to the members.
        consortium: The parties and their agreement.
        shared: The model that is scored, float32 [d].
    """
    try:
        terms = score_terms(consortium)
    except (PlanError, ConfigError) as error:
        return f"no masked sum of scores: {error}"
    if terms is None:
        return "no score was agreed to leave a member"
    names, digest = consortium.roster.names, scored(model_digest(shared))
    server = ServerSession(
        plan=terms.plan,
        roster=consortium.roster,
        context=terms.context,
        number=terms.number,
        model=digest,
    )
    session = ServerSessionRunner(cohort=names, server=server, carrier=m.ScoreProtocol)
    request = m.ScoreRequest(number=terms.number, shared=m.pack_vector(shared), cohort=names)
    try:
        result = session.run(exchange, dict.fromkeys(names, request), terms.number, digest)
    except ProtocolError as error:
        return _reason(exchange, session, terms.number, str(error))
    total = result.total.view(RING.signed_dtype).astype(np.int64)
    return ScoreSum(terms, total, tuple(names[index] for index in result.survivors))


def _reason(exchange: Exchange, session: ServerSessionRunner, number: int, text: str) -> str:
    refused = exchange.refused_in(0) | exchange.refused_in(number)
    return "; ".join([text, *said_once(refused, session.failures)])
