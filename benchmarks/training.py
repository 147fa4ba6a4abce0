"""One FedAvg round on the tutorial's own setting, against the loop that one writes first.

The reference goes through `DataLoader` item by item, with the stock Adam, one member after the
other. Ours indexes tensors, steps with the fused Adam, and hosts members in worker processes.
`ratio` is the reference's time over ours: 2 means twice as fast. `ratio one process` leaves the
worker processes out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from harness import Row, main
from securefl.config.load import load_config
from securefl.federation import messages as m
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess, WorkerProcesses, balanced
from securefl.ml.batches import all_units
from securefl.ml.parameters import load_shared

TITLE = "One FedAvg round, five retailers, batch 128, three local epochs"
CASES = {
    "recommendation": {"data": {"source": "tutorial"}},
    "demand": {
        "data": {"source": "tutorial", "table": "demand"},
        "model": {"name": "tutorial-forecaster"},
    },
}


class ReferenceMember:
    """A member as the obvious loop has it."""

    def __init__(self, prepared, member):
        training = prepared.config.training
        self.loss, self.clip = prepared.task.loss, training.gradient_clip
        self.epochs = training.local_epochs
        self.model = prepared.task.model(prepared.facts, member.customers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=training.learning_rate)
        dataset = TensorDataset(*all_units(member.examples))
        self.loader = DataLoader(dataset, batch_size=training.batch_size, shuffle=True)

    def train(self, shared):
        load_shared(self.model, shared)
        self.model.train()
        for _ in range(self.epochs):
            for batch in self.loader:
                self.optimizer.zero_grad()
                loss = self.loss(self.model, batch).mean()
                loss.backward()
                if self.clip is not None:
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
                self.optimizer.step()


def round_seconds(exchange, names, shared, number):
    started = time.perf_counter()
    request = m.Train(round=number, shared=m.pack_vector(shared))
    exchange.ask_all(names, request, m.Update)
    return time.perf_counter() - started


def reference_seconds(members, shared):
    started = time.perf_counter()
    for member in members:
        member.train(shared)
    return time.perf_counter() - started


def measure(task, changes, epochs, repeats, folder):
    options = {"task": task, "training": {"batch_size": 128, "local_epochs": epochs}} | changes
    small = {"mode": "plain", "references": {"enabled": False}, "rounds": repeats + 1}
    config = load_config(None, options | small)
    prepared = prepare(config)
    consortium, keys = local_consortium(prepared)
    specs = member_specs(prepared, RunDirectory(folder, config), consortium, keys)
    names = tuple(spec.name for spec in specs)
    references = [ReferenceMember(prepared, member) for member in prepared.members]
    timings = {"reference": [], "one": [], "two": []}
    with ExitStack() as stack:
        one = Exchange(stack.enter_context(InProcess(specs)))
        two = Exchange(stack.enter_context(WorkerProcesses(balanced(specs, 2))))
        for exchange in (one, two):
            exchange.ask_all(names, m.StartRun(since=0), m.Entries)
        # The first round of each pays for imports and allocations once.
        reference_seconds(references, prepared.shared)
        for exchange in (one, two):
            round_seconds(exchange, names, prepared.shared, 1)
        for number in range(2, repeats + 2):
            timings["reference"].append(reference_seconds(references, prepared.shared))
            timings["one"].append(round_seconds(one, names, prepared.shared, number))
            timings["two"].append(round_seconds(two, names, prepared.shared, number))
    seconds = {name: median(values) for name, values in timings.items()}
    return Row(
        f"round {task}",
        {
            "ratio": seconds["reference"] / seconds["two"],
            "ratio one process": seconds["reference"] / seconds["one"],
            "seconds reference": seconds["reference"],
            "seconds": seconds["two"],
            "local epochs": epochs,
            "samples": sum(member.samples for member in prepared.members),
        },
    )


def benchmark(quick):
    with tempfile.TemporaryDirectory() as folder:
        return [
            measure(task, changes, *((1, 1) if quick else (3, 5)), Path(folder))
            for task, changes in CASES.items()
        ]


if __name__ == "__main__":
    sys.exit(main(TITLE, benchmark))
