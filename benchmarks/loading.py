"""Loading of one retailer's own lines: CPU seconds, rows a second, bytes a row, peak memory.

Each case is a process of its own, so that its peak is its own. Beside ours, pandas and Polars do
the same work without any check: read, parse times, number products, sort by time. Lines are nearly
all distinct pairs of customer and product, eight to a receipt, over one year.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from harness import Row, main

SIZES = (100_000, 1_000_000, 10_000_000)
PRODUCTS = 20_000
KINDS = ("parquet", "csv")
READERS = ("ours", "ours again", "pandas", "polars")


def benchmark(quick: bool) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        catalogue = "product\n" + "".join(f"p{n}\n" for n in range(PRODUCTS + 1))
        (place / "catalogue.csv").write_text(catalogue)
        for size in SIZES[:2] if quick else SIZES:
            generate(place, size)
            rows += [measured(place, size, kind, name) for kind in KINDS for name in READERS]
    return rows


def generate(place: Path, size: int) -> None:
    """Write `size` lines as Parquet and as CSV."""
    lines = f"""
        SELECT (1 + random() * {max(size // 100, 10)})::BIGINT AS customer,
            'p' || ((random() * random() * {PRODUCTS})::INT) AS product,
            TIMESTAMP '2024-01-01' + to_seconds((r * 31536000 // {size})::BIGINT) AS time,
            (1 + random() * 3)::INT AS quantity, round(random() * 20, 2) AS value,
            r // 8 AS basket
        FROM range({size}) t(r)"""
    with duckdb.connect() as engine:
        engine.execute("SELECT setseed(0.5)")
        engine.execute(f"COPY ({lines}) TO '{place / f'{size}.parquet'}' (FORMAT parquet)")
        engine.execute(f"COPY (FROM '{place / f'{size}.parquet'}') TO '{place / f'{size}.csv'}'")


def measured(place: Path, size: int, kind: str, name: str) -> Row:
    """One reader on one file; `ours again` is a second start, from the cache of prepared lines."""
    call = f"import loading; loading.child({str(place)!r}, '{size}.{kind}', {name!r})"
    found = subprocess.run(
        [sys.executable, "-c", call],
        cwd=Path(__file__).parent,
        env={**os.environ, "SECUREFL_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        return Row(f"{name}, {kind}, {size:,}", {"failed": found.stderr.strip().splitlines()[-1]})
    result = json.loads(found.stdout)
    return Row(
        f"{name}, {kind}, {size:,}",
        {
            "cpu_seconds": result["cpu"],
            "rows_per_cpu_second": size / result["cpu"],
            "peak_mb": result["peak"] / 1024,
            "peak_bytes_per_row": (result["peak"] - result["base"]) * 1024 / size,
        },
    )


def child(place: str, file: str, name: str) -> None:
    """Run one case in this process, and print what it took."""
    reader = {"ours": ours, "ours again": ours, "pandas": with_pandas, "polars": with_polars}[name]
    load = reader(Path(place), Path(place) / file)
    base, started = peak(), time.process_time()
    lines = load()
    result = {"cpu": time.process_time() - started, "peak": peak(), "base": base, "lines": lines}
    print(json.dumps(result))


def peak() -> int:
    """Peak resident memory in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ours(place: Path, file: Path):
    """All checks, and the cache."""
    from securefl.config.data import FilesSettings
    from securefl.data.sources.registry import load

    settings = FilesSettings.model_validate(
        {
            "root": place,
            "catalogue": "catalogue.csv",
            "columns": {"basket": "basket"},
            "members": [{"name": "north", "transactions": file.name}],
        }
    )
    return lambda: len(load(settings).members[0].transactions)


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
    main(__doc__.partition("\n")[0], benchmark)
