"""The pages of docs/results that `python -m benchmarks` writes from the results that lie there.

One page for each script, with all results of its arguments, and one page that lists them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from harness import Row, markdown

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PICTURES = {
    "secagg_sessions": "Two plots over the number of members, for one member: CPU time and bytes up"
    " are flat, bytes down grow by 36 bytes a member",
    "private_recommendation": "HR@10 and NDCG@10 over epsilon, of what is served, released and"
    " listed",
    "distributed_recommendation": "Noise, HR@10 and NDCG@10 of the released model over epsilon: a"
    " curator's noise, shares sized alike, shares for one dropout and one colluder, each"
    " retailer's own noise",
    "private_growth": "HR@10 and NDCG@10 over the customers of a retailer, from 1,000 to 100,000",
}
"""What is to be seen on the picture of a result that has one."""
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
INDEX = """# Benchmarks

Written by `python -m benchmarks` from `benchmarks/results`. A ratio compares with a limit or a peer
that was measured in the same run. Nobody has to read these pages: [the ten figures that
matter](ten-figures.md) stand on one.

| result | what it measures | cases |
|---|---|---:|
"""


def pages() -> dict[str, str]:
    """Return the pages by their path under docs/results."""
    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("*.json"))
    }
    names = {
        script: list(group) for script, group in groupby(sorted(results, key=_order), key=_script)
    }
    listed = [
        f"| {_link(script, name)} | {_title(script)} | {len(results[name]['rows'])} |\n"
        for script, group in names.items()
        for name in group
    ]
    written = {"benchmarks.md": INDEX + "".join(listed)}
    for script, group in names.items():
        parts = [f"# {script}", f"`benchmarks/{script}.py`: {_title(script)}"]
        for name in group:
            parts += [f"## {name}"] if group != [script] else []
            parts += section(name, results[name])
        written[f"benchmarks/{script}.md"] = "\n\n".join(parts) + "\n"
    return written


def section(name: str, result: Mapping[str, Any]) -> list[str]:
    """Return the paragraphs of one result: the machine, the table, and what it does not say."""
    parts = [", ".join(f"{key} {value}" for key, value in result["machine"].items())]
    parts += [table(result)]
    parts += [NOTES[name]] if name in NOTES else []
    parts += [f"![{PICTURES[name]}](../../images/{name}.png)"] if name in PICTURES else []
    return parts


def table(result: Mapping[str, Any]) -> str:
    rows = [Row(r["case"], {k: v for k, v in r.items() if k != "case"}) for r in result["rows"]]
    return markdown(rows)


def _script(name: str) -> str:
    """Results of several arguments of one script are named `script-argument`."""
    return name.partition("-")[0]


def _order(name: str) -> tuple[str, str]:
    return _script(name), name


def _title(script: str) -> str:
    """The first line of a script's docstring."""
    source = (HERE / f"{script}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _link(script: str, name: str) -> str:
    """A link under the anchor that the result has had as a section of the one page."""
    return f'<a id="{name}"></a>[{name}](benchmarks/{script}.md#{name})'
