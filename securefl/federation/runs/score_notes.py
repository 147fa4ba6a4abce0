"""Released scores in sentences, for the summary and the report."""

from __future__ import annotations

import math
from collections.abc import Iterator

from securefl.config.metric_labels import LABELS, shown, title
from securefl.federation.scores.statement import ReleasedScore, ReleasedScores

_ARMS = {"federated": "federated", "released": "released model"}


def score_notes(scores: ReleasedScores | None) -> Iterator[str]:
    """Yield what a run under a budget released of its scores, and what it did not."""
    if scores is None or not (scores.epsilon or scores.withheld):
        return
    for arm, metrics in scores.arms.items():
        found = "; ".join(_figure(name, score) for name, score in metrics.items())
        yield (
            f"Released scores, {_ARMS.get(arm, arm)}, over {len(scores.survivors)} retailers (± the"
            f" standard error of their noise; {scores.epsilon:g} of epsilon): {found}."
        )
    if "all" in scores.withheld:
        yield f"No score was released: {scores.withheld['all']}."


def _figure(name: str, score: ReleasedScore) -> str:
    label = title(name) if name in LABELS else name
    if math.isnan(score.value):
        return f"{label} drowned in its noise"
    if name not in LABELS:
        return f"{label} {score.value:.4f} ± {score.standard_error:.4f}"
    return f"{label} {shown(name, score.value)} ± {shown(name, score.standard_error)}"
