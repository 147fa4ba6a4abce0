"""How the code hangs together: cycles, sizes, house rules, the way of a masked answer, start.

    python architecture.py [CHECKOUT] [--quick] [--json]

`cycles` count strongly connected components of two or more units: `largest` is the size of the
largest, `units` how many units there are, `pairs` how many pairs import each other; in the row
"with typing" imports under TYPE_CHECKING count too. Inside a package the units are its modules; one
without a cycle has no row.
`source_figures` says what an arrow is, `traced_run` what is a file entered, a move and a masked
answer. `start` is wall time: minimum and median over runs in turn, and the median of the ratios to
`python -c pass` in the same turn. Without `--quick` each is started 15 times, else 3.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import fmean, median

import source_figures as figures
from harness import Row, main

HERE = Path(__file__).resolve().parent
RUNS, QUICK_RUNS = 15, 3
LARGE = 8
"""A package of so many modules has its inside looked at."""
ALLOWED = ("securefl/config/task_registry.py", "securefl/__init__.py")
"""Where a module may be imported by a name that is put together: plugins, and the public names."""
STARTS = {
    "import securefl": ["-c", "import securefl"],
    "securefl --help": ["-c", "from securefl_cli.main import main; main(['--help'])"],
}


def benchmark(root: Path, quick: bool) -> list[Row]:
    parts = {part: figures.sources(root, part) for part in figures.PARTS}
    rows = [*cycle_rows(parts), *size_rows(parts), *rule_rows(parts)]
    return [*rows, *traced_rows(root), *start_rows(root, QUICK_RUNS if quick else RUNS)]


def cycle_rows(parts: dict[str, list[figures.Source]]) -> Iterator[Row]:
    """Cycles between the units of each part, and between the modules of each large package."""
    found = figures.arrows([source for files in parts.values() for source in files])
    everything = figures.merged(found.executed, found.typing)
    for package in ("securefl", "securefl_protocols", "securefl_cli"):
        units = figures.grouped(found.executed, package)
        yield _cycles(f"cycles: {package}", units)
        yield _cycles(f"cycles: {package}, with typing", figures.grouped(everything, package))
        for unit in sorted(units):
            inside = figures.grouped(found.executed, f"{package}.{unit}", depth=9)
            if len(inside) >= LARGE and figures.cycles(inside):
                yield _cycles(f"cycles: inside {package}.{unit}", inside)


def _cycles(case: str, graph: figures.Graph) -> Row:
    found = figures.cycles(graph)
    measured = {
        "units": len(graph),
        "cycles": len(found),
        "largest": max(map(len, found), default=1),
        "pairs": len(figures.pairs_both_ways(graph)),
    }
    return Row(case, measured)


def size_rows(parts: dict[str, list[figures.Source]]) -> Iterator[Row]:
    together = [source for files in parts.values() for source in files]
    for name, files in {**parts, "together": together}.items():
        lengths = [n for source in files for n in figures.function_lengths(source.tree)]
        lines = sum(source.lines for source in files)
        comments = sum(figures.comment_lines(source.text) for source in files)
        measured = {
            "files": len(files),
            "lines": lines,
            f"files < {figures.SMALL}": sum(source.lines < figures.SMALL for source in files),
            "one importer": len(figures.small_with_one_importer(files)),
            "comment lines": comments,
            "comment %": round(100 * comments / lines, 2),
            "mean function": round(fmean(lengths), 2),
            "max function": max(lengths),
            "longest file": max(source.lines for source in files),
        }
        yield Row(f"size: {name}", measured)


def rule_rows(parts: dict[str, list[figures.Source]]) -> Iterator[Row]:
    together = [source for files in parts.values() for source in files]
    late = {s.path.as_posix(): len(figures.late_imports(s)) for s in together}
    outside = {path: calls for path, calls in late.items() if calls and path not in ALLOWED}
    yield Row("rule: import_module", {"files": len(outside), "calls": sum(outside.values())})
    for attribute in ("dp", "unit"):
        compared = sum(figures.compares(source, attribute) for source in together)
        yield Row(f"rule: compares .{attribute}", {"files": compared})


def traced_rows(root: Path) -> Iterator[Row]:
    command = [sys.executable, str(HERE / "traced_run.py"), str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment(root))
    found = json.loads(done.stdout)
    for case, key in (
        ("one masked answer", "answer"),
        ("one masked answer, to the masked input", "until_input"),
        ("one masked answer, later round", "later"),
        ("whole run", "run"),
    ):
        yield Row(f"way: {case}", found[key])


def start_rows(root: Path, runs: int) -> Iterator[Row]:
    """The commands take turns, so that a slow moment hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in ("nothing", *STARTS)}
    for _ in range(runs):
        for name, words in {"nothing": ["-c", "pass"], **STARTS}.items():
            seconds[name].append(_seconds(words, root))
    for name in STARTS:
        pairs = zip(seconds[name], seconds["nothing"], strict=True)
        measured = {
            "min s": round(min(seconds[name]), 3),
            "median s": round(median(seconds[name]), 3),
            "ratio": round(median(taken / nothing for taken, nothing in pairs), 2),
        }
        yield Row(f"start: {name}", measured)


def _seconds(words: list[str], root: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=environment(root)
    )
    return time.perf_counter() - started


def environment(root: Path) -> dict[str, str]:
    """So that a process imports the packages of the checkout and not those installed."""
    path = os.pathsep.join(str(root / place) for place in ("", "protocols", "cli"))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    given = len(sys.argv) > 1 and not sys.argv[1].startswith("-")
    checkout = Path(sys.argv.pop(1) if given else HERE.parent).resolve()
    main("Architecture", partial(benchmark, checkout))
