"""The closing summary of a run for a retailer: tables, a conclusion, the privacy guarantee."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from securefl.config.metric_labels import LABELS, MetricLabel, shown, title
from securefl.federation.runs.directory import CONFIG
from securefl.federation.runs.repeat import RepeatResult, sample_deviation
from securefl.federation.runs.result import Numbers, RunResult
from securefl.federation.runs.summary_notes import Result, notes, runs_of
from securefl.privacy.statement import protection

PARITY: Final = 2.0
"""Percent. A smaller difference is called parity, as another seed may reverse it."""

_SEEN: Final = 2.0
"""Standard errors beyond which a gain is told from none."""
_FAR: Final = 1000.0
"""Times as many customers as no federation will have."""

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
        notes=tuple(notes(result)),
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
        "earlier": "Earlier model",
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
    ) + (_worth(result, metric, found) + _beaten_by_naive(result, metric, found))


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


def _worth(result: Result, metric: str, found: MetricLabel) -> str:
    """Say under a budget what joining is worth, how sure that is, and what would make it sure.

    The standard error is over retailers, for the coming retailer is what a reader asks about. It
    falls with the root of the number of customers, of whom a retailer's figure is a mean.
    """
    sign = 1 if found.higher_is_better else -1
    gains = [sign * _difference(member.metrics, metric) for member in result.members]
    if result.privacy is None or len(gains) < 2 or any(math.isnan(one) for one in gains):
        return ""
    worth, error = math.fsum(gains) / len(gains), sample_deviation(gains) / math.sqrt(len(gains))
    said = (
        f" The mean retailer gains {worth:+.4f} ± {error:.4f} of {title(metric)} (standard error"
        f" over {len(gains)} retailers)"
    )
    if worth <= 0:
        return f"{said}; more customers would show no gain from the same training."
    if worth >= _SEEN * error:
        return f"{said}, which is more than chance."
    times = (_SEEN * error / worth) ** 2
    if times > _FAR:
        return f"{said}; no federation would be large enough to tell so small a gain from none."
    return f"{said}; it would be told from none with {times:.1f} times as many customers."


def _difference(metrics: Mapping[str, Numbers], metric: str) -> float:
    return metrics["federated"][metric] - metrics["alone"][metric]


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
    said = protection(result.privacy, result.mode)
    missing = sorted({name for run in runs_of(result) for name in run.in_no_sum})
    if not missing:
        return said
    return f"{said} It speaks for the retailers in the sums, without {', '.join(missing)}."


def _next_command(result: Result) -> str:
    if isinstance(result, RunResult):
        config = shlex.quote(str(Path(result.run_dir) / CONFIG))
        return f"securefl run {config} --repeat 3"
    other = "demand" if result.task == "recommendation" else "recommendation"
    return f"securefl run --task {other}"
