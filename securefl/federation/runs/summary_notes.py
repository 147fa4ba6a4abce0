"""The notes under a run's tables: which figures are whose, who is missing, what was released."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from securefl.config.metric_labels import LABELS, shown, title
from securefl.config.task_registry import declaration
from securefl.federation.coordinator.rounds import REJECTED
from securefl.federation.runs.repeat import RepeatResult
from securefl.federation.runs.result import Numbers, RunResult
from securefl.federation.scores.statement import ReleasedScore, ReleasedScores

Result = RunResult | RepeatResult

_MORE: Final = 1.001
"""A run alone has the same epsilon over its life, up to rounding."""

_ARMS: Final = {"federated": "federated", "released": "released model"}


def notes(result: Result) -> Iterator[str]:
    """Yield the notes of a run's summary, in the order in which a reader needs them."""
    yield from runs_of(result)[0].discloses
    yield from _start(result)
    yield from _ended_early(result)
    yield from _seen_by(result)
    yield from _refused(result)
    yield from _left_out(result)
    yield from _unscored(result)
    yield from _votes(result)
    yield from _over_life(result)
    yield from _scores(result)
    yield from _notes(result.metrics.get("federated", {}))
    yield from _handed(result.task)


def _start(result: Result) -> Iterator[str]:
    """Say what the run went on from, and which products are new to it or gone."""
    run = result.runs[0] if isinstance(result, RepeatResult) else result
    if (start := run.start) is None:
        return
    fate = "their rows are kept" if start.kept else "their rows are dropped"
    yield (
        f"Earlier model: {start.model[:16]}…, from which training went on, on this run's cases."
        f" {start.products - start.new:,} of {start.products:,} products are known to it"
        + (f", {start.new:,} start from their category" if start.new else "")
        + (f"; {start.removed:,} are gone, {fate}" if start.removed else "")
        + "."
    )


def _ended_early(result: Result) -> Iterator[str]:
    """Say why fewer rounds were done than agreed, and which of them the result is of."""
    for run in runs_of(result):
        if run.agreed_rounds is None:
            continue
        yield (
            f"Training ended after {run.rounds} of {run.agreed_rounds} rounds, as agreed"
            f" (patience): round {run.best_round} is the best on validation, and"
            f" {run.rounds - run.best_round} more did not improve on it. Its model is the result."
        )


def _seen_by(result: Result) -> Iterator[str]:
    """Say which figures no party of a real run has."""
    run = result.runs[0] if isinstance(result, RepeatResult) else result
    if "federated" in run.simulation_only:
        yield (
            "Only a simulation can see these figures: in mode"
            f" {result.mode}{' under a budget' if result.privacy else ''}, no score of a retailer"
            " leaves it."
        )
    elif run.simulation_only:
        yield "Only a simulation can train on all data in one place."


def _refused(result: Result) -> Iterator[str]:
    for run in runs_of(result):
        for refusal in run.refusals:
            what = f"rounds from {refusal.round} on" if refusal.round else "to take part"
            yield f"{refusal.member} refused {what}: {refusal.reason}."


def _left_out(result: Result) -> Iterator[str]:
    """Name each retailer that is missing from sums, unless its refusal is named already."""
    for run in runs_of(result):
        refused = {refusal.member for refusal in run.refusals}
        for left in run.left_out:
            if left.member in refused:
                continue
            missing = "any sum" if left.member in run.in_no_sum else _sums_of(left.rounds)
            yield f"{left.member} is not in {missing}: it {left.reason}."


def _over_life(result: Result) -> Iterator[str]:
    """Say what counts besides this run, where a member's data have been in earlier ones."""
    if result.privacy is None:
        return
    account = max(result.privacy.members, key=lambda member: member.life)
    if account.life > account.epsilon * _MORE:
        yield (
            "Earlier runs on the same data set count too: over the life of the data, epsilon is up"
            f" to {account.life:.2f} ({account.name}). What counts as one data set: securefl budget"
            " history"
        )


def _unscored(result: Result) -> Iterator[str]:
    """Say which rounds could not be the result, since their scores are missing."""
    for run in runs_of(result):
        for missing in run.unscored:
            if missing.reason == REJECTED:
                continue  # named with its vote
            rounds = _listed(missing.rounds)
            yield f"No scores of {rounds}, so the result cannot be theirs: {missing.reason}."


def _votes(result: Result) -> Iterator[str]:
    """Say which models were rejected, and which members gave no ballot on how many."""
    for run in runs_of(result):
        for vote in run.votes:
            if vote.rejected:
                yield f"The members rejected the model of round {vote.round}: {vote.said}."
        absent = [name for vote in run.votes for name in vote.absent]
        for name in dict.fromkeys(absent):
            yield f"{name} gave no ballot on {absent.count(name)} of {len(run.votes)} models."


def _listed(rounds: tuple[int, ...]) -> str:
    if len(rounds) == 1:
        return f"round {rounds[0]}"
    return f"{len(rounds)} rounds, the first of them round {rounds[0]}"


def _sums_of(rounds: tuple[int, ...]) -> str:
    return f"the sum{'s' if len(rounds) > 1 else ''} of {_listed(rounds)}"


def runs_of(result: Result) -> tuple[RunResult, ...]:
    """Return the single results of a run or of a repeated one."""
    return tuple(result.runs) if isinstance(result, RepeatResult) else (result,)


def _scores(result: Result) -> Iterator[str]:
    for run in runs_of(result):
        yield from score_notes(run.scores)


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


def _notes(federated: Numbers) -> Iterator[str]:
    empty = federated.get("zero_demand", 0.0)
    if empty:
        yield f"MAPE leaves out the {100 * empty:.1f} % of cases in which nothing was sold."
    floor = federated.get("mape_floor", math.nan)
    if not math.isnan(floor):
        yield (
            "If demand were a Poisson count, the best forecast would still be off by"
            f" {shown('mape', floor)} (MAPE)."
        )
    covered = {name.partition("@")[2]: v for name, v in federated.items() if _coverage(name, v)}
    if covered:
        shares = ", ".join(f"{float(level):.1%}: {v:.1%}" for level, v in covered.items())
        yield f"Share of sales that stayed below each quantile ({shares})."
    training = federated.get("train_accuracy", math.nan)
    if not math.isnan(training):
        yield (
            f"On the ratings it was trained on, accuracy is {shown('train_accuracy', training)};"
            " only held-out ratings say what it has learned."
        )


def _handed(task: str) -> Iterator[str]:
    for name, what in declaration(task).outputs.items():
        yield f"Each retailer finds {what} in {name}.csv of its own folder."


def _coverage(metric: str, value: float) -> bool:
    return metric.startswith("below@") and not math.isnan(value)
