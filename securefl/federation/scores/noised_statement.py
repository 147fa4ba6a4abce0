"""The statement of noised scores: values, standard errors, and what did not leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from securefl.config.schema import RunConfig
from securefl.federation.scores.bounded import STEPS, metric_sums
from securefl.federation.scores.coordinator import ScoreSum
from securefl.federation.scores.statement import ReleasedScore, ReleasedScores
from securefl.privacy.accounting.spent import MemberUnit
from securefl.privacy.score_plan import score_budget, score_table

_LEAST: Final = 3.0
"""Standard errors by which a noised denominator has to be above 0 for its ratio to be shown."""


def released_scores(
    config: RunConfig, metrics: Sequence[str], found: ScoreSum | str
) -> ReleasedScores:
    """Return the statement of a run's scores.

    Args:
        config: The run's configuration.
        metrics: The metrics that the task reports.
        found: The noised sum, or why there is none.
    """
    withheld = _withheld(config, metrics)
    if isinstance(found, str):
        return ReleasedScores(withheld={"all": found} if "all" not in withheld else withheld)
    table, budget = found.terms.table, score_budget(config)
    assert budget is not None
    sums, unit = metric_sums(table, found.total), found.deviation / STEPS
    shown = {}
    for name, bound in table.metrics.items():
        errors = (unit * bound.numerator, unit * bound.count)
        ratio = sums.ratios[name]
        shown[name] = _score(ratio.numerator, ratio.denominator, *errors)
    return ReleasedScores(
        arms={table.arm: shown},
        survivors=found.survivors,
        epsilon=budget.epsilon,
        noise_multiplier=found.terms.noise.event.noise_multiplier,
        withheld=withheld,
    )


def standard_error(ratio: float, denominator: float, numerator_error: float, error: float) -> float:
    """Return the standard error of a ratio N / D of two sums with independent noise.

    By the delta method, to first order: sqrt(s_N^2 + r^2 s_D^2) / |D|, with r = N / D and s_N, s_D
    the standard deviations of the noise in N and D. It is the error of what was released about the
    exact ratio of the bounded sums; how few cases there are is not in it.

    Args:
        ratio: r.
        denominator: D, as released.
        numerator_error: s_N.
        error: s_D.
    """
    return math.hypot(numerator_error, ratio * error) / abs(denominator)


def _score(
    numerator: float, denominator: float, numerator_error: float, error: float
) -> ReleasedScore:
    """Return a score; NaN where noise drowns its denominator, of which no ratio says anything."""
    if denominator < _LEAST * error:
        return ReleasedScore(math.nan, math.nan)
    ratio = numerator / denominator
    return ReleasedScore(ratio, standard_error(ratio, denominator, numerator_error, error))


def _withheld(config: RunConfig, metrics: Sequence[str]) -> dict[str, str]:
    """Return what does not leave, by name, and the reason; from the agreement alone."""
    privacy, table = config.privacy, score_table(config)
    if not privacy.scores:
        return {"all": "privacy.scores is 0"}
    if privacy.unit == MemberUnit.name:
        return {"all": "a member's scores are all its own, and nothing bounds them"}
    if table is None:
        model = config.model.name
        return {"all": f"no score of model '{model}' has a bound for one {privacy.unit}"}
    reason = f"no bound is known for one {privacy.unit}"
    return {name: reason for name in metrics if name not in table.metrics}
