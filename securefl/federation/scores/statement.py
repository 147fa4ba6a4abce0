"""Released scores as results state them: with their standard errors, and what did not leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from securefl.federation.scores.exact_session import ExactScores


@dataclass(frozen=True)
class ReleasedScore:
    """One metric over all members' cases.

    Attributes:
        value: The ratio of the noised sums.
        standard_error: What noise alone makes of it; see
            `noised_statement.standard_error`.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class ReleasedScores:
    """The scores of a run over all members, as everyone may see them.

    Attributes:
        arms: Scored arm to metric to its value and standard error; none where no score left.
        survivors: The members in the sum.
        epsilon: The part of the budget that was kept for scores.
        noise_multiplier: Of the noise, in multiples of the sensitivity; 0 where scores are exact.
        withheld: What did not leave (a metric, or `all` of them) to the reason.
    """

    arms: Mapping[str, Mapping[str, ReleasedScore]] = field(default_factory=dict)
    survivors: tuple[str, ...] = ()
    epsilon: float = 0.0
    noise_multiplier: float = 0.0
    withheld: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the scores in plain JSON values of `dataclasses.asdict`; null is NaN.

        Raises:
            KeyError, TypeError: If the values are of another kind.
        """
        arms = {
            arm: {
                name: ReleasedScore(**{k: math.nan if v is None else v for k, v in score.items()})
                for name, score in metrics.items()
            }
            for arm, metrics in fields["arms"].items()
        }
        return cls(**{**fields, "arms": arms, "survivors": tuple(fields["survivors"])})


def exact_scores(found: ExactScores | str) -> ReleasedScores:
    """Return the statement of exact sums, without a budget: their standard errors are 0.

    Args:
        found: The exact sums, or why there are none.
    """
    if isinstance(found, str):
        return ReleasedScores(withheld={"all": found})
    arms = {
        arm: {name: ReleasedScore(value, 0.0) for name, value in sums.values().items()}
        for arm, sums in found.arms.items()
    }
    return ReleasedScores(arms=arms, survivors=found.survivors)
