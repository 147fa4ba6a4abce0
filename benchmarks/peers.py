"""What a chooser compares, measured side by side in one run; needs the extra `flower`.

Masks of one member against Flower's SecAgg+ functions, a private step against stock Opacus, what an
installation brings, and a round trip over a broker and over Flower's own processes. What each does
not do stands beside the figures: they are no two ways to the same guarantee.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from packaging.requirements import Requirement

from dp import TUTORIAL, UNITS, RatingNet, examples, loss, private_step
from harness import Row, interleaved, main
from peer_rounds import first_result, flower_rounds, masked_rounds
from private_step import MODEL, Step
from securefl_protocols.primitives.ring import RingDtype

MEMBERS = 5
NOT_FLOWER = "no signatures; masks of a 32-bit seed"
NOT_MASKED = "no masks, no signatures, no checksum: the coordinator sees each update"
NOT_OPACUS = "noise of a generator that is not cryptographic, in floating point"


def masks(size: int, repeats: int) -> list[Row]:
    """CPU time of a member from its vector to the masked one, keys and shares being there."""
    step, theirs = Step(MEMBERS, size, 1, RingDtype.UINT32), _flower_masks(size)
    seconds: dict[str, list[float]] = {"securefl": []} | ({"Flower SecAgg+": []} if theirs else {})
    for number in range(1, repeats + 1):
        seconds["securefl"].append(_masking_in(step, number, size))
        if theirs is not None:
            seconds["Flower SecAgg+"].append(_timed(theirs))
    each = {name: median(values) for name, values in seconds.items()}
    return _compared("masks", each, f"n={MEMBERS} d={size // 1000}k", NOT_FLOWER)


def _compared(what: str, each: dict[str, float], case: str, without: str) -> list[Row]:
    """Return a row for each library: seconds, those over ours, and what the other one lacks."""
    return [
        Row(
            f"{what}, {name}, {case}",
            {
                "ms": 1e3 * value,
                "ratio": value / each["securefl"],
                "without": None if name == "securefl" else without,
            },
        )
        for name, value in each.items()
    ]


def _timed(job: Callable[[], object]) -> float:
    started = time.process_time()
    job()
    return time.process_time() - started


def _masking_in(step: Step, number: int, size: int) -> float:
    """Seconds of a round in which a member opens the others' shares, masks and signs."""
    step.server.begin_round(number, MODEL)
    vector = np.ones(size, dtype=np.uint32)
    for index, client in enumerate(step.clients):
        step.server.receive(index, client.begin_round(number, MODEL, vector))
    told, answers, seconds = step.server.end_step(), {}, 0.0
    for _ in range(3):
        for index, message in told.items():
            started = time.process_time()
            answers[index] = step.clients[index].receive(message)[0]
            seconds = seconds or time.process_time() - started
        for index, answer in answers.items():
            step.server.receive(index, answer)
        told = step.server.end_step()
    for index, message in told.items():
        step.clients[index].receive(message)
    return seconds


def _flower_masks(size: int) -> Callable[[], object] | None:
    """What `secaggplus_mod` does in its stage of masked vectors, with its own functions."""
    try:
        from flwr.common.secure_aggregation.ndarrays_arithmetic import (
            parameters_addition,
            parameters_mod,
            parameters_subtraction,
        )
        from flwr.common.secure_aggregation.quantization import quantize
        from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    except ImportError:
        return None
    seeds = [os.urandom(32) for _ in range(MEMBERS)]
    update = [np.random.default_rng(1).normal(size=size)]

    def step() -> object:
        vector = quantize(update, 8.0, 1 << 22)
        masks = [pseudo_rand_gen(seed, 1 << 32, [(size,)]) for seed in seeds]
        for place, mask in enumerate(masks):
            vector = (parameters_addition, parameters_subtraction)[place % 2](vector, mask)
        return parameters_mod(vector, 1 << 32)

    return step


def private_steps(repeats: int) -> list[Row]:
    """One step with a sampled batch: gradient of each customer, clipping, noise, Adam."""
    cases = {"securefl": private_step(TUTORIAL, "bookkeeping"), "Opacus": _opacus_step()}
    seconds = interleaved(cases, repeats)
    return _compared("private step", seconds, TUTORIAL.name, NOT_OPACUS)


def _opacus_step() -> Callable[[], object]:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    data, model = examples(TUTORIAL), GradSampleModule(RatingNet(TUTORIAL.items))
    inner = torch.optim.Adam(model.parameters(), lr=1e-3)
    optimizer = DPOptimizer(
        inner, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=TUTORIAL.batch
    )

    def step() -> None:
        optimizer.zero_grad()
        rows = torch.nonzero(torch.rand(UNITS) < TUTORIAL.batch / UNITS).flatten()
        loss(model, data.batch(rows)).mean().backward()
        optimizer.step()

    return step


def whole_rounds(size: int, repeats: int) -> list[Row]:
    """CPU time of a round of all parties in one process; ours masked, Flower's in the clear."""
    if _found("flwr") is None:
        return []
    logging.getLogger("flwr").setLevel(logging.ERROR)
    cases = {"securefl": masked_rounds(size), "Flower FedAvg": flower_rounds(size)}
    each = interleaved(cases, repeats)
    rows = _compared("a round", each, f"n={MEMBERS} d={size // 1000}k", NOT_MASKED)
    for name, rounds in (("securefl", "masked_rounds"), ("Flower FedAvg", "flower_rounds")):
        seconds, spent = first_result(rounds, size)
        figures = {"s": round(seconds, 2), "CPU s": round(spent, 2)}
        rows.append(Row(f"first round of a new process, {name}", figures))
    return rows


def installed() -> list[Row]:
    """Packages and megabytes on disk of what each asks for, torch with the CPU's wheel."""
    return [
        Row(f"installed, {name}", _size(name))
        for name in ("securefl", "flwr", "opacus")
        if _found(name) is not None
    ]


def _found(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _size(name: str) -> dict[str, object]:
    found: dict[str, importlib.metadata.Distribution] = {}
    left = [name]
    while left:
        one = left.pop()
        place = _found(one)
        if one in found or place is None:
            continue
        found[one] = place
        for text in place.requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                left.append(need.name.lower())
    sizes = [
        path.locate().stat().st_size
        for place in found.values()
        for path in place.files or ()
        if path.locate().is_file()
    ]
    return {"packages": len(found), "MB": round(sum(sizes) / 1e6)}


def benchmark(quick: bool) -> list[Row]:
    rows = masks(200_000, 5 if quick else 30)
    rows += [] if quick else masks(2_000_000, 10)
    rows += whole_rounds(200_000, 5 if quick else 30)
    return rows + private_steps(10 if quick else 60) + installed()


if __name__ == "__main__":
    main("Peers", benchmark)
