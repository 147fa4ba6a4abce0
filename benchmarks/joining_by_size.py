"""For whom it pays to join where joining is parity: by length of history and size of a retailer.

One retailer has few customers (or few series of sales) to train on, or a short history, and the
others have all of theirs. It trains alone and together with the others on the same data, and both
predict the same held-out cases. `gained` is what joining improves, in paired differences over
cases, each case's mean over the draws of the few customers; series are drawn in groups that are
each judged by themselves. As packaged, plain, in the clear. Households are customers of several
retailers; where cases are customers', those of households of no other retailer stand apart.

`python benchmarks/joining_by_size.py NAME [--quick]`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from churn_by_size import fitted, shown
from harness import Row, main
from retailer_cuts import KINDS, Cuts, Judged, Left
from securefl.config.load import load_config
from securefl.config.task_registry import declaration
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.tasks.base import MemberData

ALL: Final = Left()
CUSTOMERS: Final = (Left(50), Left(200), Left(None, 26), Left(None, 12), Left(50, 12))
FEW: Final = (Left(50), Left(None, 12))
SERIES: Final = (Left(27), Left(None, 12), Left(27, 12))


@dataclass(frozen=True)
class Table:
    """What is measured of a task.

    Attributes:
        options: The run, but for its seed.
        left: What is left of a retailer, row by row.
        places: The retailers that are cut, one at a time.
        draws: Draws of few customers, or groups of series, at most.
    """

    options: Mapping[str, Any]
    left: Sequence[Left] = CUSTOMERS
    places: Sequence[int] = range(5)
    draws: int = 1


FROM_20: Final = {"min_mean": 20.0}
"""All series that are trained on are judged: the smallest retailer has three from 100 units on."""
SMALLEST: Final = {"left": SERIES, "places": (4,), "draws": 2}
TABLES: Final[Mapping[str, Table]] = {
    "ease": Table({"task": "recommendation", "model": {"name": "ease"}}, places=(0,)),
    "content": Table({"task": "content"}, FEW, places=(0,)),
    "hybrid": Table({"task": "hybrid"}, FEW, places=(0,)),
    "pricing": Table({"task": "pricing"}, draws=3),
    "demand": Table({"task": "demand", "demand": FROM_20}, **SMALLEST),
    "demand-quantiles": Table(
        {"task": "demand", "model": {"name": "quantile-forecaster"}, "demand": FROM_20}, **SMALLEST
    ),
    "inventory": Table({"task": "inventory", "inventory": FROM_20}, **SMALLEST),
    "inventory-reorder": Table(
        {"task": "inventory", "inventory": {**FROM_20, "policy": "reorder"}}, **SMALLEST
    ),
}


@dataclass(frozen=True)
class Run:
    """A run's retailers, all of them whole.

    Attributes:
        prepared: The run.
        cuts: What can be left of each retailer.
        members: Their data.
    """

    prepared: Prepared
    cuts: Sequence[Cuts]
    members: Sequence[MemberData]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Run:
        config = load_config(options={"mode": "plain", **options})
        data = load(config.data)
        prepared = prepare_data(config, data)
        cuts = [KINDS[config.task](prepared, data, at) for at in range(len(prepared.members))]
        return cls(prepared, cuts, [cut.member(ALL, 0) for cut in cuts])

    def compared(self, place: int, left: Left, draw: int) -> dict[str, Tensor]:
        """One retailer with what is left of it, alone and with the others."""
        cut = self.cuts[place]
        member, members = cut.member(left, draw), [*self.members]
        members[place] = member
        config = self.prepared.config.model_copy(update={"seed": draw})
        model = fitted(self.prepared, config, members)[place].eval()
        return arms(cut.alone(config, member), cut.joined(model, member))

    def whole(self) -> list[dict[str, Tensor]]:
        """All retailers with all of their data."""
        config = self.prepared.config
        models = fitted(self.prepared, config, self.members)
        pairs = zip(self.cuts, self.members, models, strict=True)
        return [arms(c.alone(config, m), c.joined(model.eval(), m)) for c, m, model in pairs]


def arms(alone: Judged, joined: Judged) -> dict[str, Tensor]:
    """Metric to parts alone, parts together and denominator of each case, float64 [N, 3]."""
    return {
        name: torch.stack([one[:, 0], joined[name][:, 0], one[:, 1]], dim=1)
        for name, one in alone.items()
    }


def benchmark(name: str, quick: bool) -> list[Row]:
    table = TABLES[name]
    options = dict(table.options)
    if quick and "tutorial" in declaration(options["task"]).defaults:
        options["data"] = {"source": "tutorial"}
    return list(rows_of(Run.of(options), table, quick))


def rows_of(run: Run, table: Table, quick: bool) -> Iterator[Row]:
    """A row a metric: for all that is left, then for each retailer with all of its data."""
    draws, places = (1, table.places[:1]) if quick else (table.draws, table.places)
    for left in table.left[: 1 if quick else None]:
        started = time.process_time()
        found = []
        for place in places:
            every = range(run.cuts[place].draws(left, draws))
            one = [run.compared(place, left, draw) for draw in every]
            found.append(together(one, parted=run.cuts[place].parted))
        spent = round(time.process_time() - started, 1)
        yield from shown_rows(run, said(run, left, places), found, spent)
    if quick:
        return
    each = run.whole()
    yield from shown_rows(run, said(run, ALL, places), [each[place] for place in places])
    for cut, one in zip(run.cuts, each, strict=True):
        yield from shown_rows(run, f"all of {cut.name}", [one])


def said(run: Run, left: Left, places: Sequence[int]) -> str:
    """What a row is of."""
    cut = run.cuts[places[0]]
    who = "each in turn" if len(places) > 1 else cut.name
    units = "all" if left.units is None else str(left.units)
    return f"{who}, {units} {cut.unit}, {left.weeks or 'all'} weeks"


# -- the table -------------------------------------------------------------------------------------


def together(draws: Sequence[dict[str, Tensor]], *, parted: bool) -> dict[str, Tensor]:
    """One retailer's cases, float64 [N, 3]: of all draws, or as the mean over them."""
    if parted:
        return {name: torch.cat([one[name] for one in draws]) for name in draws[0]}
    return {name: torch.stack([one[name] for one in draws]).mean(dim=0) for name in draws[0]}


def shown_rows(
    run: Run, case: str, found: Sequence[dict[str, Tensor]], spent: float | None = None
) -> Iterator[Row]:
    """A row a metric, over the cases of some retailers."""
    for name in found[0]:
        row = gained(torch.cat([one[name] for one in found]), higher=run.cuts[0].higher)
        yield shown(f"{case}: {name}", row | ({} if spent is None else {"cpu_s": spent}))


def gained(parts: Tensor, *, higher: bool) -> dict[str, float]:
    """Both arms and what joining improves, with the standard error of a ratio over cases."""
    count = len(parts)
    alone, joined, whole = parts.sum(dim=0).tolist()
    better = (parts[:, 1] - parts[:, 0]) * (1 if higher else -1)
    gain = float(better.sum()) / whole
    spread = float((better - gain * parts[:, 2]).square().sum()) * count / max(count - 1, 1)
    found = {"alone": alone / whole, "federated": joined / whole, "gained": gain}
    found["gained se"] = math.sqrt(spread) / whole
    return {"cases": count} | {name: round(value, 4) for name, value in found.items()}


def named() -> str:
    """The task that the command line says, taken from it."""
    if len(sys.argv) < 2 or sys.argv[1] not in TABLES:
        sys.exit(f"joining_by_size: say which one: {', '.join(TABLES)}")
    return sys.argv.pop(1)


if __name__ == "__main__":
    main(__doc__.splitlines()[0], partial(benchmark, named()))
