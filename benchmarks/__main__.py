"""`make bench`: every benchmark, its JSON under results/ and its table in benchmarks.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from harness import Row, markdown
from plots import growth
from private_plots import budgets, customers, placements
from tasks import CASES

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs"
SUPPORT = {
    "__init__",
    "__main__",
    "factor_sums",
    "harness",
    "network_parties",
    "network_setup",
    "peer_rounds",
    "plots",
    "private_federation",
    "private_plots",
    "purchase_shapes",
    "recoveries",
    "retailer_data",
    "source_figures",
    "traced_run",
}
SCRIPTS = {p.stem: [p.name] for p in HERE.glob("*.py") if p.stem not in SUPPORT | {"tasks"}}
SCRIPTS |= {f"tasks-{name}": ["tasks.py", name] for name in CASES}
SCRIPTS |= {f"newcomer_budgets-{name}": ["newcomer_budgets.py", name] for name in ("large", "real")}
NAMES = sorted(SCRIPTS)
PICTURES = {
    growth: "Two plots over the number of members, for one member: CPU time and bytes up are flat,"
    " bytes down grow by 36 bytes a member",
    budgets: "HR@10 and NDCG@10 over epsilon, of what is served, released and listed",
    placements: "Noise, HR@10 and NDCG@10 of the released model over epsilon: a curator's noise,"
    " shares sized alike, shares for one dropout and one colluder, each retailer's own noise",
    customers: "HR@10 and NDCG@10 over the customers of a retailer, from 1,000 to 100,000",
}
"""What draws a benchmark's rows where they are such as it draws, and what is to be seen."""
NOTES = {
    "dp": "The table is of floating-point noise on float32 sums. Beside integer noise on"
    " float64 sums, in turns on a machine with far more work than cores (three runs"
    " each of --quick, CPU seconds, medians of the ratio to the same loop without"
    " privacy): 1.7 then and 2.8 now (tutorial NCF), 1.4 and 2.3 (customer batches, of"
    " which a third are norms in double precision), 4.5 and 10.7 (50 k items), 39 and"
    " 98 (hooks); the noise alone takes 3.7 times torch's normals in the place of 1.3"
    " (float32) and 2.4 (float64). With 50 k items, Adam and noise on every"
    " coordinate, 1.4 times fused Adam cannot be reached by dense noise. Fused Adam"
    " takes 2 ns a coordinate, which leaves 0.8 ns: less than a core takes to read a"
    " float64 sum and 16 random bits and to write a float32 (14 bytes, at about 10"
    " GB/s), before anything is drawn. Torch's own normals, which are not exact, take"
    " 3.5 to 7 ns a coordinate, so that a step with them would be at 3 times at least."
    " Noise on fewer coordinates is none: which rows were left out would be released,"
    " and noise that is added later, to parameters that were rounded before, has no"
    ' proof (docs/explanation/privacy.md, "Exact noise"). What is left is a smaller table, or'
    " fewer and larger steps.",
    "faults": "Measured on an idle machine. A kill's recovery is the import of the program, three"
    " seconds, and little more; the rounds on processes have the times of all restarts in"
    " them, and were ended after 200 s. The same recoveries, to the next round, before the"
    " policy of waiting, names of faults and streams that are made anew (idle too): member"
    " killed 3.5 s, coordinator killed 2.8, broker killed 6.5, all killed 7.5, member or"
    " coordinator frozen for 20 s 20.5 and 20.7, member's disk full 49 (it was waited for at"
    " each step), coordinator's disk full 7.4, certificate expired for 10 s 11.1; broker's"
    " disk full, or its store lost: not within 60 s, until broker and parties were restarted"
    " by hand.",
    "loading": "10^9 lines (Parquet of 9.3 GB, 10^7 customers), once, at the lowest priority beside"
    " a load of 20 to 30: tables after 382 CPU seconds, 4.1 GB at the peak (pages of files among"
    " it), 32 bytes a line in files without a name. Tables of 32 bytes a line and the arrays of"
    " recommendation, 66 bytes a line at the peak, are 66 GB for 10^9 lines beside the Parquet"
    " file: for these the disk, with 40 GB free, did not do. Beside the first and second"
    " starts, work of the lowest priority went on. In each start is the reading of the catalogue,"
    " 20,001 products, .08 s.",
    "serving": "`implicit` is given its customers' vectors; ours are summed from their purchases,"
    " and lists are tables with what each of them rests on.",
}
"""What a table does not say by itself."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; or all")
    parser.add_argument("--quick", action="store_true", help="each within a minute; write nothing")
    options = parser.parse_args()
    for name in options.names or NAMES:
        if name not in NAMES:
            parser.error(f"no benchmark '{name}'; there are {', '.join(NAMES)}")
        print(f"{name} ...", file=sys.stderr, flush=True)
        result = run(name, quick=options.quick)
        print(f"\n{name}\n\n{table(result)}", flush=True)
        if not options.quick:
            RESULTS.mkdir(exist_ok=True)
            text = json.dumps(result, indent=1) + "\n"
            (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    if not options.quick:
        write_page()


def run(name: str, *, quick: bool) -> dict:
    script, *words = SCRIPTS[name]
    options = ["--json", *(["--quick"] if quick else [])]
    command = [sys.executable, str(HERE / script), *words, *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def table(result: dict) -> str:
    rows = [Row(r["case"], {k: v for k, v in r.items() if k != "case"}) for r in result["rows"]]
    return markdown(rows)


def write_page() -> None:
    """All results that lie there, each with the machine that it was measured on."""
    head = (
        "# Benchmarks\n\nWritten by `make bench`. A ratio compares with a limit or a peer that was"
        " measured in the same run; the docstring of each benchmark says with which.\n"
    )
    parts = [head]
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        facts = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
        note = [NOTES[path.stem]] if path.stem in NOTES else []
        parts.append("\n\n".join([f"## {path.stem}", facts, table(result), *note]) + "\n")
        picture = DOCS / "images" / f"{path.stem}.png"
        picture.parent.mkdir(exist_ok=True)
        for draw, says in PICTURES.items():
            if draw(result["rows"], picture):
                parts.append(f"![{says}](../images/{picture.name})\n")
    (DOCS / "results" / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
