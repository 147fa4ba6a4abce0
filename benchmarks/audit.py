"""What accountability costs: verifying a bundle, and keeping the ledger while training.

`verify …` is the CPU time of a whole audit, from the file to the verdict, without transcripts; the
limit is 10 seconds for 1,000 rounds of 5 members. `replay …` is what a round's transcript adds.
`ledger …` is the time that a run spends in entries, signatures, books, the log and its heads, as
a share of the whole run: `ratio` by the wall clock, in which every transaction waits for the disk,
and `cpu_ratio` of the processor. The limit is 0.02 of a default run. Members and coordinator share
one process there, so the share is that of all parties together.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from harness import Row, main
from securefl.audit.bundle.bundle import to_text
from securefl.audit.verify import verify_file
from securefl.config.load import load_config
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run

TESTS = Path(__file__).parents[1] / "tests"
LEDGER = {
    Recorder: ("begin", "conclude", "finish"),
    MemberLedger: ("__init__", "refusal", "begin", "enter", "charge", "trained", "sent_again"),
}
"""Where a run spends time on its ledger; what a recorder asks of members is in its own time."""


def verifying(rounds: int, *, masked: bool) -> Row:
    sys.path.insert(0, str(TESTS))
    scenario = import_module("support.bundle_scenario")
    step = scenario.STEP.model_copy(update={"noise_multiplier": 20.0})
    honest = scenario.honest(rounds, masked=masked, step=step)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.json"
        bundle = honest.seal(Path(folder) if masked else None)
        path.write_text(to_text(bundle), encoding="utf-8")
        started = time.process_time()
        audit = verify_file(path, now=scenario.BEGIN + timedelta(days=rounds))
        seconds = time.process_time() - started
        if audit.verdict != "pass":
            raise RuntimeError("an honest bundle has to pass")
        megabytes = path.stat().st_size / 1e6
    name = "replay" if masked else "verify"
    return Row(
        f"{name} rounds={rounds} members=5",
        {"entries": len(bundle.entries), "megabytes": megabytes, "seconds": seconds},
    )


def ledger_share(name: str, options: dict[str, Any]) -> Row:
    """A run with its ledger timed from within."""
    config = load_config(None, options | {"engine": {"workers": 1}})
    with tempfile.TemporaryDirectory() as folder, timed_ledger() as spent:
        directory = RunDirectory.create(
            Path(folder) / "run", config, LedgerPaths.usual(Path(folder) / "books")
        )
        started = BudgetResponse.now()
        run(directory)
        whole = BudgetResponse.now() - started
    return Row(
        f"ledger {name}",
        {
            "seconds": whole.wall,
            "ledger_seconds": spent[0].wall,
            "ledger_cpu_seconds": spent[0].cpu,
            "ratio": spent[0].wall / whole.wall,
            "cpu_ratio": spent[0].cpu / whole.cpu,
        },
    )


@dataclass(frozen=True)
class BudgetResponse:
    """Seconds by the wall clock, in which the disk is waited for, and of the processor."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> BudgetResponse:
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: BudgetResponse) -> BudgetResponse:
        return BudgetResponse(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: BudgetResponse) -> BudgetResponse:
        return BudgetResponse(self.wall - other.wall, self.cpu - other.cpu)


@contextmanager
def timed_ledger() -> Iterator[list[BudgetResponse]]:
    """Adds up the time of every call into the ledger."""
    spent, depth = [BudgetResponse(0.0, 0.0)], [0]
    originals = {
        (owner, name): getattr(owner, name) for owner, names in LEDGER.items() for name in names
    }

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def wrapper(*arguments, **named):
            depth[0] += 1
            started = BudgetResponse.now()
            try:
                return call(*arguments, **named)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    spent[0] += BudgetResponse.now() - started

        return wrapper

    for (owner, name), call in originals.items():
        setattr(owner, name, timed(call))
    try:
        yield spent
    finally:
        for (owner, name), call in originals.items():
            setattr(owner, name, call)


def benchmark(quick: bool) -> list[Row]:
    rows = [verifying(100 if quick else 1000, masked=False), verifying(10, masked=True)]
    small = {"source": "tutorial", "customers": 200, "items": 100, "interactions": [1000, 2000]}
    rows.append(ledger_share("small", {"task": "recommendation", "data": small}))
    if not quick:
        rows.append(ledger_share("default", {"task": "recommendation"}))
    return rows


if __name__ == "__main__":
    main("Auditing, and the ledger behind it", benchmark)
