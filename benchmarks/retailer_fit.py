"""How like the Complete Journey drawn purchases are: shapes of both, side by side.

As many retailers and customers as there; products so many that as many are left of which 20
customers bought one. `python benchmarks/retailer_fit.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from harness import Row, main, peak_megabytes
from purchase_shapes import shapes
from retailer_data import Drawn, drawn
from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData

CUSTOMERS = (770, 560, 500, 400, 246)
"""Customers of the five retailers who take part in recommendation, about."""
PRODUCTS = 18_000
SIZES = {"1,000": 1_000, "10,000": 10_000, "100,000": 100_000}


def benchmark(quick: bool) -> list[Row]:
    made = shapes(drawn(Drawn(products=PRODUCTS, customers=CUSTOMERS)))
    if quick:
        return [Row(name, {"drawn": round(value, 3)}) for name, value in made.items()]
    real = shapes(load(load_config(None, {"task": "recommendation"}).data))
    both = [
        Row(name, {"Complete Journey": round(value, 3), "drawn": round(made[name], 3)})
        for name, value in real.items()
    ]
    return [*both, *costs()]


def costs() -> Iterator[Row]:
    """Time and memory of drawing one retailer, twelve weeks of 5,000 products."""
    for said, customers in SIZES.items():
        started = time.process_time()
        data = drawn(Drawn(products=5_000, customers=(customers,), weeks=12))
        row = {"lines": lines(data), "cpu_s": round(time.process_time() - started, 1)}
        row["peak megabytes"] = round(peak_megabytes())
        print(f"{said} customers: {row}", file=sys.stderr, flush=True)
        yield Row(f"drawing {said} customers", row)


def lines(data: RetailData) -> int:
    return sum(len(member.transactions) for member in data.members)


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
