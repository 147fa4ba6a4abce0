"""Loading of one retailer's own lines: seconds, rows a second, bytes a row, peak memory.

Each case is a process of its own, so that its peak is its own. Beside ours, pandas and Polars do
the same work without any check: read, parse times, number products, sort by time. Lines are nearly
all distinct pairs of customer and product, eight to a receipt, over one year. `ours` reads and
keeps prepared lines in the cache; `ours again` is a second start from there; `ours, arrays` goes on
to the arrays that recommendation trains on, without a cache.

    python benchmarks/loading.py                          10^6, 10^7 and 10^8 lines
    python benchmarks/loading.py 1e7 3e8 parquet ours     these sizes, of these kinds and readers
    python benchmarks/loading.py 1e8 /large/folder        files that are there, or are kept there
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from harness import Row, main

SIZES = (1_000_000, 10_000_000, 100_000_000)
QUICK = (100_000, 1_000_000)
PRODUCTS = 20_000
KINDS = ("parquet", "csv")
READERS = ("ours", "ours again", "ours, arrays", "pandas", "polars")
OUT_OF_MEMORY = ("MemoryError", "Cannot allocate memory", "memory allocation of", "out of memory")
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def benchmark(quick: bool, words: list[str]) -> list[Row]:
    sizes = [int(float(word)) for word in words if word[0].isdigit()]
    kinds = [kind for kind in KINDS if kind in words] or KINDS
    readers = [name for name in READERS if name in words] or READERS
    folders = [Path(word) for word in words if Path(word).is_dir()]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = folders[0] if folders else Path(folder)
        catalogue = "product\n" + "".join(f"p{n}\n" for n in range(PRODUCTS + 1))
        (place / "catalogue.csv").write_text(catalogue)
        for size in sizes or (QUICK if quick else SIZES):
            for kind in KINDS[: 1 if kinds == ["parquet"] else 2]:
                generate(place, size, kind)
            rows += [measured(place, size, k, name) for k in kinds for name in readers]
            for kind in KINDS if not folders else ():
                (place / f"{size}.{kind}").unlink(missing_ok=True)
        shutil.rmtree(place / "cache", ignore_errors=True)
    return rows


def generate(place: Path, size: int, kind: str) -> None:
    """Write `size` lines as Parquet, and the same as CSV, unless they are there."""
    if (place / f"{size}.{kind}").exists():
        return
    lines = f"""
        SELECT (1 + random() * {max(size // 100, 10)})::BIGINT AS customer,
            'p' || ((random() * random() * {PRODUCTS})::INT) AS product,
            TIMESTAMP '2024-01-01' + to_seconds((r // 8 * 8 * 31536000 // {size})::BIGINT) AS time,
            (1 + random() * 3)::INT AS quantity, round(random() * 20, 2) AS value,
            r // 8 AS basket
        FROM range({size}) t(r)"""
    if kind == "csv":
        lines = f"FROM '{place / f'{size}.parquet'}'"
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": str(place)}) as engine:
        engine.execute("SELECT setseed(0.5)")
        engine.execute(f"COPY ({lines}) TO '{place / f'{size}.{kind}'}' (FORMAT {kind})")


def measured(place: Path, size: int, kind: str, name: str) -> Row:
    """One reader on one file."""
    print(f"{size:,} lines, {kind}, {name} ...", file=sys.stderr, flush=True)
    call = f"import loading; loading.child({str(place)!r}, '{size}.{kind}', {name!r})"
    found = subprocess.run(
        [sys.executable, "-c", call],
        cwd=Path(__file__).parent,
        env={**os.environ, "SECUREFL_CACHE": str(place / "cache"), "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        last = (found.stderr.strip().splitlines() or [f"signal {-found.returncode}"])[-1]
        full = any(word in found.stderr for word in OUT_OF_MEMORY)
        why = f"does not fit into {MACHINE / 2e9:.0f} GB" if full else last[:80]
        return Row(f"{name}, {kind}, {size:,}", {"failed": why})
    result = json.loads(found.stdout.splitlines()[-1])
    return Row(
        f"{name}, {kind}, {size:,}",
        {
            "cpu_seconds": result["cpu"],
            "wall_seconds": result["wall"],
            "rows_per_cpu_second": size / result["cpu"],
            "peak_mb": result["peak"] / 1024,
            "peak_bytes_per_row": (result["peak"] - result["base"]) * 1024 / size,
        },
    )


def child(place: str, file: str, name: str) -> None:
    """Run one case in this process, and print what it took."""
    readers = {"ours": ours, "ours again": ours, "ours, arrays": our_arrays}
    reader = {**readers, "pandas": with_pandas, "polars": with_polars}[name]
    if name not in readers:
        # Where half of the machine's memory does not do, the case fails, and not the machine.
        resource.setrlimit(resource.RLIMIT_DATA, (MACHINE // 2, MACHINE // 2))
    load = reader(Path(place), Path(place) / file)
    base, started, clock = peak(), cpu(), time.perf_counter()
    lines = load()
    result = {
        "cpu": cpu() - started,
        "wall": time.perf_counter() - clock,
        "peak": peak(),
        "base": base,
        "lines": lines,
    }
    print(json.dumps(result))


def cpu() -> float:
    """CPU seconds of all threads so far, the system's for this process included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak() -> int:
    """Peak resident memory in KiB.

    What the system counts for a process begins with the memory of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def settings(place: Path, file: Path, *, cache: bool):
    """The configuration of a run over one retailer's file."""
    from securefl.config.load import load_config

    tree = {
        "task": "recommendation",
        "mode": "plain",
        "cohort": {"minimum": 1},
        "data": {
            "source": "files",
            "root": str(place),
            "catalogue": "catalogue.csv",
            "columns": {"basket": "basket"},
            "cache": cache,
            "members": [{"name": "north", "transactions": file.name}],
        },
    }
    return load_config(None, tree)


def ours(place: Path, file: Path):
    """All checks, and the cache."""
    from securefl.data.sources.registry import load

    config = settings(place, file, cache=True)
    return lambda: len(load(config.data).members[0].transactions)


def our_arrays(place: Path, file: Path):
    """Everything from the file to the tensors of a retailer's customers."""
    from securefl.data.sources.registry import load
    from securefl.tasks.registry import create_task

    config = settings(place, file, cache=False)
    task = create_task(config)

    def arrays() -> int:
        data = load(config.data)
        return int(task.prepare(data.members[0], task.agree(data)).samples)

    return arrays


def with_pandas(place: Path, file: Path):
    """pandas, pyarrow's reader of CSV."""
    import pandas as pd

    known = pd.read_csv(place / "catalogue.csv")["product"]

    def load() -> int:
        csv = file.suffix == ".csv"
        frame = pd.read_csv(file, engine="pyarrow") if csv else pd.read_parquet(file)
        frame["time"] = pd.to_datetime(frame["time"])
        frame["product"] = (
            frame["product"].map(pd.Series(known.index, known)).fillna(-1).astype(int)
        )
        return len(frame.sort_values(["time", "basket", "product"], ignore_index=True))

    return load


def with_polars(place: Path, file: Path):
    """Polars, eager, handed over to pandas as ours is."""
    import polars as pl

    known = pl.read_csv(place / "catalogue.csv").with_row_index("number")

    def load() -> int:
        csv = file.suffix == ".csv"
        frame = pl.read_csv(file, try_parse_dates=True) if csv else pl.read_parquet(file)
        frame = frame.join(known, on="product", how="left").drop("product")
        return len(frame.sort(["time", "basket", "number"]).to_pandas())

    return load


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if not word.startswith("-")]
    sys.argv[1:] = [word for word in sys.argv[1:] if word.startswith("-")]
    main(__doc__.partition("\n")[0], lambda quick: benchmark(quick, chosen))
