"""`make bench`: every benchmark, its JSON under results/ and its table in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from harness import Row, markdown

HERE = Path(__file__).parent
SUPPORT = {"__init__", "__main__", "harness"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each within a minute; write nothing")
    options = parser.parse_args()
    names = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in SUPPORT)
    sections = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        result = run(name, quick=options.quick)
        table = markdown([row_of(fields) for fields in result["rows"]])
        sections.append(f"## {name}\n\n{table}\n")
        print(f"\n{name}\n\n{table}", flush=True)
        if not options.quick:
            write_results(name, result)
    if not options.quick:
        write_page(result["machine"], sections)


def run(name: str, *, quick: bool) -> dict:
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", *(["--quick"] if quick else [])]
    output = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return json.loads(output)


def row_of(fields: dict) -> Row:
    return Row(fields["case"], {key: value for key, value in fields.items() if key != "case"})


def write_results(name: str, result: dict) -> None:
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def write_page(machine: dict, sections: list[str]) -> None:
    facts = ", ".join(f"{key} {value}" for key, value in machine.items())
    text = (
        "# Benchmarks\n\nWritten by `make bench`; every ratio compares with a limit or a peer that"
        f" was measured in the same run. Machine: {facts}.\n\n"
    )
    page = HERE.parent / "docs" / "benchmarks.md"
    page.write_text(text + "\n".join(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
