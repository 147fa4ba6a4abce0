"""`make bench`: every benchmark, its JSON under results/ and its table in docs/results."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from joining_by_size import TABLES
from pages import RESULTS, pages, table
from plots import growth
from private_plots import budgets, customers, placements
from tasks import CASES

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
SUPPORT = {
    "__init__",
    "__main__",
    "factor_sums",
    "harness",
    "network_parties",
    "network_setup",
    "pages",
    "peer_rounds",
    "plots",
    "poisoning_cells",
    "private_federation",
    "private_plots",
    "purchase_shapes",
    "recoveries",
    "retailer_cuts",
    "retailer_data",
    "source_figures",
    "traced_run",
}
SPLIT = {"joining_by_size": TABLES, "tasks": CASES}
"""Scripts with a result for each of their arguments, and these."""
SCRIPTS = {p.stem: [p.name] for p in HERE.glob("*.py") if p.stem not in SUPPORT | SPLIT.keys()}
SCRIPTS |= {
    f"{script}-{name}": [f"{script}.py", name] for script in SPLIT for name in SPLIT[script]
}
SCRIPTS |= {f"newcomer_budgets-{name}": ["newcomer_budgets.py", name] for name in ("large", "real")}
NAMES = sorted(SCRIPTS)
DRAWN = {
    "secagg_sessions": growth,
    "private_recommendation": budgets,
    "distributed_recommendation": placements,
    "private_growth": customers,
}
"""What draws a result's picture."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; or all")
    parser.add_argument("--quick", action="store_true", help="each within a minute; write nothing")
    parser.add_argument("--pages", action="store_true", help="measure nothing; write the pages")
    options = parser.parse_args()
    for name in [] if options.pages else options.names or NAMES:
        if name not in NAMES:
            parser.error(f"no benchmark '{name}'; there are {', '.join(NAMES)}")
        print(f"{name} ...", file=sys.stderr, flush=True)
        result = run(name, quick=options.quick)
        print(f"\n{name}\n\n{table(result)}", flush=True)
        if not options.quick:
            keep(name, result)
    if not options.quick:
        write_pages()


def run(name: str, *, quick: bool) -> dict:
    script, *words = SCRIPTS[name]
    options = ["--json", *(["--quick"] if quick else [])]
    command = [sys.executable, str(HERE / script), *words, *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def keep(name: str, result: dict) -> None:
    """Write a result, and its picture if it has one."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=1) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    if name in DRAWN:
        DRAWN[name](result["rows"], DOCS / "images" / f"{name}.png")


def write_pages() -> None:
    """All results that lie there, each with the machine that it was measured on."""
    for name, text in pages().items():
        path = DOCS / "results" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
