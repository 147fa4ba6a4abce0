"""Which tasks a retailer's own data allow, and at which thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData
from securefl.errors import SecureflError
from securefl.federation.runs.prepare import prepare_data

_RANKING: Final = tuple(
    # With an agreed period, what all learn about comes from the catalogue, which has no customers.
    {"min_households": 1, "min_products": products, "negatives": negatives}
    for products, negatives in ((20, 99), (10, 99), (8, 49), (5, 19), (3, 9))
)
_SERIES: Final = tuple(
    {"min_mean": mean, "min_training_mean": mean / 5} for mean in (100.0, 50.0, 20.0, 10.0, 5.0)
)
_CHURN: Final = tuple(
    {
        "active_weeks": weeks,
        "history_weeks": weeks,
        "horizon_weeks": horizon,
        "training_cutoffs": cutoffs,
        "step_weeks": step,
    }
    for weeks, horizon, cutoffs, step in ((52, 8, 5, 4), (26, 8, 5, 4), (16, 4, 3, 2), (8, 4, 2, 2))
)
_PRICES: Final = tuple({"min_mean": mean} for mean in (10.0, 5.0, 2.0, 1.0))

THRESHOLDS: Final[dict[str, tuple[str, tuple[dict[str, Any], ...]]]] = {
    "recommendation": ("recommendation", _RANKING),
    "sequential": ("sequential", _RANKING),
    "demand": ("demand", _SERIES),
    "churn": ("churn", _CHURN),
    "pricing": ("pricing", _PRICES),
}
"""Task to its section and the thresholds that are tried, strictest first."""

LEAST: Final = 5
"""Samples that each member needs, so that there is anything to learn and to score."""


@dataclass(frozen=True)
class Feasible:
    """What one task could do with the data.

    Attributes:
        task: The task.
        thresholds: Settings of its section with which every member takes part; None if none do.
        samples: Member to its training samples with these.
        reason: Why stricter thresholds, or all, were not enough; empty where the first ones were.
    """

    task: str
    thresholds: dict[str, Any] | None
    samples: dict[str, int]
    reason: str


@dataclass(frozen=True)
class TaskFit:
    """What a configured task can do with the data.

    Attributes:
        task: The task.
        samples: Member that can take part to its training samples; empty where the task cannot
            train.
        reason: Why it cannot, or members cannot; empty where all can.
    """

    task: str
    samples: dict[str, int]
    reason: str


def fit_of(config: RunConfig, data: RetailData) -> TaskFit:
    """Return what the task of a configuration can do with the data, as its thresholds are."""
    try:
        prepared = prepare_data(config, data)
    except SecureflError as error:
        return TaskFit(config.task, {}, str(error))
    able = [one for one in prepared.members if one.name not in prepared.unable]
    samples = {one.name: int(one.samples) for one in able}
    return TaskFit(config.task, samples, "; ".join(prepared.unable.values()))


def feasible_tasks(data: RetailData, section: dict[str, Any]) -> Iterator[Feasible]:
    """Try each task on the data, from its strictest thresholds to its mildest.

    Args:
        data: The tables.
        section: The data section that they were read with.
    """
    for task, (name, ladder) in THRESHOLDS.items():
        yield _tried(task, name, ladder, data, section)


def _tried(
    task: str,
    name: str,
    ladder: tuple[dict[str, Any], ...],
    data: RetailData,
    section: dict[str, Any],
) -> Feasible:
    reason = ""
    for thresholds in ladder:
        tree = {"task": task, "data": section, name: thresholds, **least_members(len(data.members))}
        try:
            config = load_config(None, tree)
            # Lower thresholds are what is tried here, so that an error need not say to lower them.
            prepared = prepare_data(config, data, go_on="")
        except SecureflError as error:
            reason = str(error)
            continue
        samples = {member.name: int(member.samples) for member in prepared.members}
        thin = [member for member, count in samples.items() if count < LEAST]
        if not thin:
            return Feasible(task, thresholds, samples, reason)
        few = f"too few samples at {', '.join(thin)} with {_said(thresholds)}"
        reason = "; ".join(prepared.unable.values()) or few
    return Feasible(task, None, {}, reason)


def _said(thresholds: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in thresholds.items())


def least_members(members: int) -> dict[str, Any]:
    """Return the sections that a run of few members needs: sums of two or fewer hide nothing."""
    if members >= 3:
        return {}
    return {"mode": "plain", "cohort": {"minimum": members}}
