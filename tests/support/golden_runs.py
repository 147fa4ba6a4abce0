"""The settings of the golden run: small runs in every mode, and the facts of every task that has
generated data. Changing anything here changes `tests/golden/runs.json`.
"""

from __future__ import annotations

from typing import Any

Options = dict[str, Any]

COMMON: Options = {
    "seed": 3,
    "rounds": 2,
    "references": {"enabled": False},
    "engine": {"workers": 1},
}
RATINGS: Options = {
    "task": "recommendation",
    "data": {
        "source": "tutorial",
        "table": "ratings",
        "retailers": 4,
        "customers": 20,
        "items": 24,
        "interactions": [120, 160],
        "shared_items": True,
    },
    "model": {"name": "rating-ncf", "dim": 4, "hidden": 8},
    "training": {"local_epochs": 1},
}
SMALLEST: Options = RATINGS | {
    "data": RATINGS["data"] | {"retailers": 6},
    "model": {"name": "rating-ncf", "dim": 2, "hidden": 4},
}
CHURN: Options = {
    "task": "churn",
    "data": {"source": "tutorial", "retailers": 4, "customers": 30, "lines": [15, 40]},
}
DEMAND: Options = {
    "task": "demand",
    "data": {
        "source": "tutorial",
        "table": "demand",
        "retailers": 3,
        "products": 4,
        "days": 120,
    },
    "training": {"batch_size": 64},
}
PURCHASES: Options = {
    "task": "recommendation",
    "data": {
        "source": "tutorial",
        "table": "purchases",
        "retailers": 3,
        "customers": 40,
        "items": 40,
        "lines": [15, 30],
    },
    "recommendation": {"min_households": 3, "min_products": 4, "negatives": 5},
}
HYBRID: Options = {
    "task": "hybrid",
    "data": {"source": "tutorial", "retailers": 3, "customers": 60, "items": 60},
}
TRANSFER: Options = {
    "task": "transfer",
    "rounds": 4,
    "data": {"source": "tutorial", "retailers": 3, "customers": 120},
}
BUDGET: Options = {
    "epsilon": 4.0,
    "delta": 1e-3,
    "sampling_rate": 1.0,
    "expected_batch": 20.0,
    "steps": 1,
    "insecure_testing_seed": 1,
}
LOCAL = BUDGET | {"dp": "local", "steps": 2}
GAUSSIAN = BUDGET | {"dp": "distributed"}
SKELLAM_LAW: Options = {"distributed": {"law": "skellam"}}
SKELLAM = GAUSSIAN | SKELLAM_LAW
LAYERED = GAUSSIAN | {"distributed": {"excess": "remove"}}
MEMBER = GAUSSIAN | {"unit": "member", "clip_norm": 0.5, "epsilon": 16.0}
"""A few members hide one of them only at a large budget."""

POLICY = """\
version = 1
data_set = "golden"

[cap.customer]
epsilon = 6.0
delta = 1e-3
"""
"""Enough for one run under `BUDGET`; of a second one, the rounds are refused when it is spent."""


def _dropout(member: str) -> Options:
    return {"dropouts": [{"member": member, "round": 2, "step": "masked-input"}]}


RUNS: dict[str, Options] = {
    "ratings-plain": RATINGS | {"mode": "plain"},
    "ratings-secure": RATINGS | {"references": {"enabled": True}},
    "ratings-dropout": RATINGS | {"simulation": _dropout("retailer-1")},
    "ratings-local": RATINGS | {"privacy": LOCAL},
    "ratings-gaussian": RATINGS | {"privacy": GAUSSIAN},
    "ratings-skellam": RATINGS | {"privacy": SKELLAM},
    "ratings-member": SMALLEST | {"privacy": MEMBER},
    "ratings-member-skellam": SMALLEST | {"privacy": MEMBER | SKELLAM_LAW},
    "churn-plain": CHURN | {"mode": "plain"},
    "churn-secure": CHURN,
    "churn-local": CHURN | {"privacy": LOCAL, "references": {"enabled": True}},
    "churn-gaussian": CHURN | {"privacy": LAYERED, "simulation": _dropout("retailer-2")},
    "churn-skellam": CHURN | {"privacy": SKELLAM},
    "mf-secure": PURCHASES | {"model": {"name": "mf", "dim": 4}},
    "hierarchical-secure": PURCHASES | {"model": {"name": "hierarchical"}},
    "profile-gaussian": PURCHASES | {"model": {"name": "profile", "rank": 2}, "privacy": GAUSSIAN},
    "ease-secure": PURCHASES | {"model": {"name": "ease"}},
    "hybrid-secure": HYBRID,
    "transfer-secure": TRANSFER,
    "quantiles-secure": DEMAND | {"model": {"name": "quantile-forecaster"}},
    "demand-secure": DEMAND,
    "demand-local": DEMAND | {"privacy": LOCAL | {"unit": "record", "epsilon": 16.0}},
}

REFUSED: tuple[str, ...] = ("churn-local",)
"""Run under `POLICY`, and then once more on the same books, which the policy forbids."""

FACTS: dict[str, Options] = {
    "ratings": RATINGS,
    "mf": PURCHASES | {"model": {"name": "mf"}},
    "ease": PURCHASES | {"model": {"name": "ease"}},
    "churn": CHURN,
    "demand": DEMAND,
    "content": HYBRID | {"task": "content"},
    "hybrid": HYBRID,
    "transfer": TRANSFER,
}


def options(name: str) -> Options:
    """What `securefl.configure` is given for a run."""
    return COMMON | RUNS[name]
