"""The closing summary of a run for a retailer: tables, a conclusion, the privacy guarantee."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from securefl.config.metric_labels import LABELS, MetricLabel, shown, title
from securefl.config.task_registry import declaration
from securefl.federation.runs.directory import CONFIG
from securefl.federation.runs.repeat import RepeatResult, sample_deviation
from securefl.federation.runs.result import Numbers, RunResult
from securefl.federation.scores.statement import ReleasedScore, ReleasedScores
from securefl.privacy.statement import protection

Result = RunResult | RepeatResult
PARITY: Final = 2.0
"""Percent. A smaller difference is called parity, as another seed may reverse it."""

_ARMS: Final = {"federated": "federated", "released": "released model"}


KEPT: Final = (
    "Per-retailer figures stay with the retailers: each finds its own in figures.json of its own"
    " folder."
)
"""The conclusion of a run of which no score leaves a member."""


@dataclass(frozen=True)
class SummaryTable:
    """One metric, retailer by retailer, as text.

    Attributes:
        heading: The metric's name and what it means.
        columns: Column titles, the first being the retailer's.
        rows: One a retailer.
        totals: Over all retailers, then the spread over seeds where there are several.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    totals: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Summary:
    """The content of the closing summary.

    Attributes:
        heading: Task, mode, rounds and seeds.
        tables: One a headline metric.
        notes: Explanations of the tables.
        conclusion: What they mean for a retailer.
        protection: The privacy guarantee; says so where there is none.
        run_dir: The run's directory.
        next_command: A command to try next.
    """

    heading: str
    tables: tuple[SummaryTable, ...]
    notes: tuple[str, ...]
    conclusion: str
    protection: str
    run_dir: str
    next_command: str


def summarise(result: Result) -> Summary:
    """Return the closing summary of a run or of a repeated one."""
    metrics = headline_metrics(result)
    return Summary(
        heading=_heading(result),
        tables=tuple(_table(result, metric, found) for metric, found in metrics.items()),
        notes=(
            *_seen_by(result),
            *_refused(result),
            *_scores(result),
            *_notes(result.metrics.get("federated", {})),
            *_handed(result.task),
        ),
        conclusion=_conclusion(result, *next(iter(metrics.items()))) if metrics else KEPT,
        protection=_protection(result),
        run_dir=result.run_dir,
        next_command=_next_command(result),
    )


def headline_metrics(result: Result) -> dict[str, MetricLabel]:
    """Return the metrics that the summary shows, the decisive one first."""
    known = {m: LABELS[m] for m in result.metrics.get("federated", {}) if m in LABELS}
    return {metric: found for metric, found in known.items() if found.headline}


def gain(candidate: float, reference: float, higher_is_better: bool) -> float:
    """Return the candidate's gain in percent of the reference; negative where it is worse."""
    if not reference:
        return math.nan
    change = 100 * (candidate - reference) / reference
    return change if higher_is_better else -change


def _heading(result: Result) -> str:
    seeds = f"seed {result.seed}"
    if isinstance(result, RepeatResult):
        seeds = f"seeds {result.seed} to {result.runs[-1].seed}"
    return (
        f"{result.task}, {len(result.members)} retailers, mode {result.mode}, "
        f"{rounds_done(result.rounds)}, {seeds}"
    )


def rounds_done(rounds: int) -> str:
    """Return the number of rounds as text."""
    return f"{rounds} round" if rounds == 1 else f"{rounds} rounds"


def _table(result: Result, metric: str, found: MetricLabel) -> SummaryTable:
    arms = _arms(result.metrics, found)
    overall = [_row("All retailers", result.metrics, metric, found, arms)]
    if isinstance(result, RepeatResult):
        overall.append(_spread_row(result, metric, found, arms))
    direction = "higher is better" if found.higher_is_better else "lower is better"
    return SummaryTable(
        heading=f"{found.title} ({direction}): {found.meaning}",
        columns=("Retailer", *arms.values()),
        rows=tuple(_row(m.name, m.metrics, metric, found, arms) for m in result.members),
        totals=tuple(overall),
    )


def _arms(metrics: Mapping[str, Numbers], found: MetricLabel) -> dict[str, str]:
    """Return the column titles by arm; `gain` is computed here, all others are measured."""
    known = {
        "alone": "Alone",
        "federated": "Federated",
        "released": "Released model",
        "gain": "Gain",
        "pooled": "All data in one place",
        "naive": found.baseline,
        "popularity_private": "Noised popularity",
    }
    present = set(metrics) | ({"gain"} if "alone" in metrics else set())
    return {arm: column for arm, column in known.items() if arm in present}


def _row(
    name: str,
    metrics: Mapping[str, Numbers],
    metric: str,
    found: MetricLabel,
    arms: Mapping[str, str],
) -> tuple[str, ...]:
    cells = [
        _percent(gain_over_alone(metrics, metric, found))
        if arm == "gain"
        else _cell(metrics, arm, metric)
        for arm in arms
    ]
    return (name, *cells)


def _spread_row(
    result: RepeatResult, metric: str, found: MetricLabel, arms: Mapping[str, str]
) -> tuple[str, ...]:
    gains = (
        [gain_over_alone(run.metrics, metric, found) for run in result.runs]
        if "gain" in arms
        else []
    )
    cells = [
        f"{sample_deviation(gains):.1f} %" if arm == "gain" else _cell(result.spread, arm, metric)
        for arm in arms
    ]
    return (f"± over {len(result.runs)} seeds", *cells)


def _cell(metrics: Mapping[str, Numbers], arm: str, metric: str) -> str:
    return shown(metric, metrics[arm][metric])


def gain_over_alone(metrics: Mapping[str, Numbers], metric: str, found: MetricLabel) -> float:
    """Return the federation's gain over local-only training, in percent; see `gain`."""
    return gain(metrics["federated"][metric], metrics["alone"][metric], found.higher_is_better)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.1f} %"


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
    for run in result.runs if isinstance(result, RepeatResult) else (result,):
        for refusal in run.refusals:
            what = f"rounds from {refusal.round} on" if refusal.round else "to take part"
            yield f"{refusal.member} refused {what}: {refusal.reason}."


def _scores(result: Result) -> Iterator[str]:
    for run in result.runs if isinstance(result, RepeatResult) else (result,):
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


def _conclusion(result: Result, metric: str, found: MetricLabel) -> str:
    name, federated = title(metric), _cell(result.metrics, "federated", metric)
    if "alone" not in result.metrics:
        return (
            f"The federation reaches {name} {federated}; without the references there is nothing"
            " to say about what joining gains."
        )
    alone = _cell(result.metrics, "alone", metric)
    return _verdict(result, metric, found).format(
        name=name, pair=f"{federated} against {alone}"
    ) + (_beaten_by_naive(result, metric, found))


def _verdict(result: Result, metric: str, found: MetricLabel) -> str:
    value = gain_over_alone(result.metrics, metric, found)
    members = len(result.members)
    gains = [gain_over_alone(member.metrics, metric, found) for member in result.members]
    if math.isnan(value):
        return "There was no case to judge {name} by."
    if abs(value) < _noise(result, metric, found):
        return (
            "Parity: {name} is as good as training alone, within what chance explains ({pair}); "
            "judged by it, joining gains a retailer nothing and costs it nothing."
        )
    if value > 0:
        count = sum(g > 0 for g in gains)
        return (
            f"The federation helps: {{name}} is {value:.1f} % better than training alone "
            f"({{pair}}), and better at {count} of {members} retailers."
        )
    count = sum(g < 0 for g in gains)
    return (
        f"The federation does not help: {{name}} is {-value:.1f} % worse than training alone "
        f"({{pair}}), and worse at {count} of {members} retailers."
    )


def _noise(result: Result, metric: str, found: MetricLabel) -> float:
    """Return the smallest gain in percent that counts: `PARITY`, or the spread over seeds."""
    if not isinstance(result, RepeatResult):
        return PARITY
    spread = sample_deviation([gain_over_alone(run.metrics, metric, found) for run in result.runs])
    return PARITY if math.isnan(spread) else max(PARITY, spread)


def _beaten_by_naive(result: Result, metric: str, found: MetricLabel) -> str:
    baseline = result.metrics.get("naive", {}).get(metric, math.nan)
    ahead = gain(baseline, result.metrics["federated"][metric], found.higher_is_better)
    if math.isnan(ahead) or ahead <= 0:
        return ""
    rule = found.baseline.lower()
    return f" The baseline ({rule}) does better: {shown(metric, baseline)}."


def _protection(result: Result) -> str:
    return protection(result.privacy, result.mode)


def _next_command(result: Result) -> str:
    if isinstance(result, RunResult):
        config = shlex.quote(str(Path(result.run_dir) / CONFIG))
        return f"securefl run {config} --repeat 3"
    other = "demand" if result.task == "recommendation" else "recommendation"
    return f"securefl run --task {other}"
