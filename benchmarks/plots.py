"""Pictures for docs/results/benchmarks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_GROWTH = re.compile(r"session n=(\d+) k=52 d=10000$")


def growth(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Cost of a member against the size of the cohort, at a fixed number of neighbours.

    Rows without such cases leave the picture as it is.
    """
    found = [(int(m[1]), row) for row in rows if (m := _GROWTH.fullmatch(row["case"]))]
    if len(found) < 2:
        return
    found.sort(key=lambda pair: pair[0])
    members = [n for n, _ in found]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(members, [row["member_cpu_milliseconds"] for _, row in found], "o-")
    left.set_ylabel("CPU of a member, ms")
    for key, label in (("up_kilobytes_per_member", "up"), ("down_kilobytes_per_member", "down")):
        right.plot(members, [row[key] for _, row in found], "o-", label=label)
    right.set_ylabel("bytes of a member, kB")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("members")
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
        axes.grid(alpha=0.3)
    figure.suptitle("One secure round at 52 neighbours and 10,000 coordinates")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
