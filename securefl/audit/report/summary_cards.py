"""Summary cards of a run for non-technical readers, computed from its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from securefl.audit.explain import Explanation
from securefl.config.metric_labels import LABELS, shown
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.runs.result import RunResult
from securefl.federation.runs.summary import KEPT, gain_over_alone, headline_metrics, summarise
from securefl.privacy.accounting.spent import privacy_unit

_LARGEST_EXPONENT: Final = 700.0
"""Beyond it, a double holds no e^epsilon."""
_SEEN: Final = {
    "plain": "The coordinator saw each retailer's update in the clear.",
    "secure": "Of each retailer's update, the coordinator saw nothing but a mask.",
}


@dataclass(frozen=True)
class Card:
    """One summary card at the top of the report.

    Attributes:
        question: The question it answers.
        figure: The answer as one figure.
        text: The answer in one or two sentences.
        unsigned: Whether the figure is from files that no member signed.
    """

    question: str
    figure: str
    text: str
    unsigned: bool = True


def headline(result: RunResult) -> str:
    """Return the run's conclusion, the same as in its closing table."""
    return summarise(result).conclusion


def cards(
    result: RunResult, records: Sequence[RoundRecord], story: Explanation | None = None
) -> tuple[Card, ...]:
    """Return the cards on utility gain, privacy loss and participation.

    Args:
        result: Result of the run, which no member signed.
        records: Records of its rounds, which no member signed either.
        story: What the signed entries say, in figures; mode and privacy loss are taken from there.
    """
    return (_gained(result), _cost(result, story), _took_part(result, records))


def _gained(result: RunResult) -> Card:
    question = "What was gained?"
    metrics = headline_metrics(result)
    if not metrics:
        return Card(question, "with the retailers", KEPT)
    metric, label = next(iter(metrics.items()))
    federated = shown(metric, result.metrics["federated"][metric])
    if "alone" not in result.metrics:
        text = "The run was not compared with what the retailers reach alone."
        return Card(question, f"{label.title} {federated}", text)
    change = gain_over_alone(result.metrics, metric, label)
    alone = shown(metric, result.metrics["alone"][metric])
    better = sum(gain_over_alone(m.metrics, metric, label) > 0 for m in result.members)
    text = (
        f"{label.title} ({label.meaning}) is {federated}, against {alone} when each retailer trains"
        f" alone; better at {better} of {len(result.members)} retailers."
    )
    return Card(question, "-" if math.isnan(change) else f"{change:+.1f} %", text)


def _cost(result: RunResult, story: Explanation | None) -> Card:
    question = "What did it cost in privacy?"
    mode = result.mode if story is None else story.mode
    claim = _unsigned_claim(result) if story is None else _signed_claim(story)
    if claim is None:
        text = (
            "Single customers were not protected: a party that sees the shared model, or the"
            " sums that it was made of, may learn something about one of them."
        )
        return Card(question, "not measured", f"{text} {_SEEN[mode]}", unsigned=story is None)
    presence = privacy_unit(claim.unit).presence
    if claim.epsilon is None:
        text = f"No member signed what it cost. {_SEEN[mode]}"
        return Card(question, "unknown", text, unsigned=False)
    text = (
        f"A party that sees all that a retailer released can shift the odds that {presence} by"
        f" a factor of {_factor(claim.epsilon)} at most"
        f" (except in 1 of {1 / claim.delta:,.0f} cases). {_SEEN[mode]}"
    )
    return Card(question, f"ε = {claim.epsilon:.2f}", text, unsigned=story is None)


@dataclass(frozen=True)
class _Claim:
    """Privacy loss of a run, all of it from one source: signed entries, or the result's file."""

    epsilon: float | None
    delta: float
    unit: str


def _unsigned_claim(result: RunResult) -> _Claim | None:
    found = result.privacy
    return None if found is None else _Claim(found.largest_epsilon, found.delta, found.unit)


def _signed_claim(story: Explanation) -> _Claim | None:
    """Return what members signed, the largest epsilon of them; None where no noise was agreed."""
    if story.unit is None or story.delta is None:
        return None
    found = [member.epsilon_run for member in story.members if member.releases]
    known = [epsilon for epsilon in found if epsilon is not None]
    # Where one is not known, the largest is not known either.
    return _Claim(
        max(known) if known and len(known) == len(found) else None, story.delta, story.unit
    )


def _factor(epsilon: float) -> str:
    """Format e^epsilon, which bounds the change of odds (Kasiviswanathan and Smith 2014)."""
    if epsilon > _LARGEST_EXPONENT:
        return "more than any number here"
    factor = math.exp(epsilon)
    return f"{factor:.1f}" if factor < 100 else f"{factor:,.0f}"


def _took_part(result: RunResult, records: Sequence[RoundRecord]) -> Card:
    names = [member.name for member in result.members]
    complete = sum(set(record.survivors) == set(record.cohort) for record in records)
    rounds = "every round" if complete == len(records) else f"{complete} of {len(records)} rounds"
    text = (
        f"{', '.join(names[:-1])} and {names[-1]}. All that were asked are in the sum of {rounds}."
        if len(names) > 1
        else f"{names[0]}."
    )
    return Card("Who took part?", f"{len(names)} retailers", text)


def metric_title(metric: str) -> str:
    """Return the heading of a metric with its meaning."""
    return f"{LABELS[metric].title}: {LABELS[metric].meaning}"
