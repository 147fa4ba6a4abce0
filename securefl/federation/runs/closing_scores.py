"""The closing scores that every party sees: one masked sum, as the agreement says."""

from __future__ import annotations

from securefl.federation.coordinator.rounds import Federation, RoundState
from securefl.federation.scores.exact_session import sum_exact
from securefl.federation.scores.statement import ReleasedScores, exact_scores
from securefl.privacy.mechanisms import mechanism_for


def closing_scores(federation: Federation, state: RoundState) -> ReleasedScores | None:
    """Return the scores of the run's result; None in mode `plain` without a budget."""
    config, exchange, shared = federation.config, federation.exchange, state.best_shared
    names = [metric.name for metric in federation.layout.metrics]
    if mechanism_for(config.privacy).private:
        # Opacus takes seconds to import, and a run without a budget does not need it.
        from securefl.federation.scores.coordinator import sum_scores
        from securefl.federation.scores.noised_statement import released_scores

        return released_scores(config, names, sum_scores(exchange, federation.consortium, shared))
    if config.mode == "plain":
        return None
    number = config.rounds + 1
    return exact_scores(
        sum_exact(exchange, federation.consortium, federation.layout, number, shared)
    )
