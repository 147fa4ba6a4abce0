"""What every benchmark shares: options, the machine, rows as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np


@dataclass
class Row:
    """One measured case; `ratio` compares with a limit or a peer measured in the same run."""

    case: str
    measured: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"case": self.case} | self.measured


def machine() -> dict[str, Any]:
    import torch  # a second; the processes that a benchmark starts import this file

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.system(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def interleaved(
    cases: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Median seconds of each case; the cases take turns, so that a slow moment hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            started = clock()
            case()
            seconds[name].append(clock() - started)
    return {name: median(values) for name, values in seconds.items()}


def peak_megabytes() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(title: str, benchmark: Callable[[bool], Sequence[Row]]) -> None:
    """The command line of one benchmark: `--quick` ends within a minute, `--json` prints JSON."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="smaller cases, within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rows = benchmark(options.quick)
    if options.json:
        json.dump({"machine": machine(), "rows": [row.as_json() for row in rows]}, sys.stdout)
        print()
    else:
        print(f"{title}\n")
        print(markdown(rows))


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table with the union of their columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row.measured))
    lines = ["| case | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [_cell(row.measured.get(column)) for column in columns]
        lines.append(f"| {row.case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
