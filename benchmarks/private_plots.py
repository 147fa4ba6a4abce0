"""Pictures of what a private recommender reaches: against the budget, and against its customers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plots import plt

_BUDGET = re.compile(r"epsilon (\S+): (.+)")
_EXACT = re.compile(r"no privacy: (.+)")
_PLACED = re.compile(r"epsilon (\S+) (.+): released")
_SIZE = re.compile(r"([0-9,]+) customers: (.+)")
_METRICS = {"hr@10": "HR@10", "ndcg@10": "NDCG@10"}

_LINES = {
    "federated": ("served: own part and shared model", "C0", "o-"),
    "released": ("released: shared model alone", "C1", "s-"),
    "popularity_private, summed": ("noised popularity, all retailers", "C7", "v--"),
    "popularity_private": ("noised popularity, each retailer's", "C2", "^--"),
}
_LEVELS = {
    "FedAvg, factorisation": ("FedAvg", "C4", "-."),
    "alone": ("each alone, all it can do", "C3", "--"),
    "alone, factorisation": ("each alone, factorisation", "C5", ":"),
    "popularity": ("popularity", "C8", ":"),
}

_PLACES = {
    "central": ("one curator who sees every sum", "C0", "o-"),
    "distributed, nobody drops out or colludes": (
        "shares for no dropout, no colluder",
        "C1",
        "s--",
    ),
    "distributed, one may drop out and one collude": (
        "shares for one dropout, one colluder",
        "C2",
        "^--",
    ),
    "local": ("each retailer for itself", "C3", "v-"),
}

Rows = Sequence[Mapping[str, Any]]


def budgets(rows: Rows, path: Path) -> None:
    """Utility against epsilon; without privacy as levels across.

    Rows without such cases leave the picture as it is.
    """
    found = [(m[1], m[2], row) for row in rows if (m := _BUDGET.fullmatch(row["case"]))]
    if not found:
        return
    ticks = list(dict.fromkeys(epsilon for epsilon, _, _ in found))
    exact = {m[1]: row for row in rows if (m := _EXACT.fullmatch(row["case"]))}
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for axes, (metric, name) in zip(panels, _METRICS.items(), strict=True):
        for arm, (label, colour, style) in _LINES.items():
            points = [(ticks.index(e), row) for e, a, row in found if a == arm]
            axes.errorbar(
                [place for place, _ in points],
                [row[metric] for _, row in points],
                [row[f"{metric} sd"] for _, row in points],
                label=label,
                color=colour,
                fmt=style,
                capsize=3,
            )
        for arm, (label, colour, style) in _LEVELS.items():
            axes.axhline(exact[arm][metric], label=label, color=colour, linestyle=style)
        axes.set_xticks(range(len(ticks)), [tick.replace("inf", "no noise") for tick in ticks])
        axes.set_xlabel("epsilon of each customer, delta = 1e-5")
        _finish(axes, name)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _save(figure, path)


def customers(rows: Rows, path: Path) -> None:
    """Utility against a retailer's customers.

    Rows without such cases leave the picture as it is.
    """
    found = [
        (int(m[1].replace(",", "")), m[2], row)
        for row in rows
        if (m := _SIZE.fullmatch(row["case"]))
    ]
    if not found:
        return
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for axes, (metric, name) in zip(panels, _METRICS.items(), strict=True):
        for arm, (label, colour, style) in (_LINES | _LEVELS).items():
            points = sorted((size, row[metric]) for size, a, row in found if a == arm)
            if points:
                axes.plot(*zip(*points, strict=True), style, label=label, color=colour)
        axes.set_xscale("log")
        axes.set_xlabel("customers a retailer, epsilon = 2, delta = 1e-6")
        _finish(axes, name)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _save(figure, path)


def placements(rows: Rows, path: Path) -> None:
    """Noise and utility of the released model against epsilon, by where the noise is added.

    Rows without such cases leave the picture as it is.
    """
    placed = [row for row in rows if "ratio" in row]
    found = [(m[1], m[2], row) for row in placed if (m := _PLACED.fullmatch(row["case"]))]
    if not found:
        return
    ticks = list(dict.fromkeys(epsilon for epsilon, _, _ in found))
    panels = {"ratio": "noise over a curator's", "hr@10": "HR@10", "ndcg@10": "NDCG@10"}
    figure, drawn = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for axes, (key, name) in zip(drawn, panels.items(), strict=True):
        for place, (label, colour, style) in _PLACES.items():
            points = [(ticks.index(e), row) for e, p, row in found if p == place]
            axes.errorbar(
                [tick for tick, _ in points],
                [row[key] for _, row in points],
                [row.get(f"{key} sd", 0) for _, row in points],
                label=label,
                color=colour,
                fmt=style,
                capsize=3,
            )
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel("epsilon of each customer, delta = 1e-5")
        _finish(axes, name)
    figure.legend(*drawn[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    _save(figure, path)


def _finish(axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.grid(alpha=0.3)


def _save(figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
