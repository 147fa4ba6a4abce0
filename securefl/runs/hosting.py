"""Which process hosts whom when a run stays on one machine."""

from __future__ import annotations

import os

from securefl.config.schema import EngineSettings, RunConfig
from securefl.engines.local import InProcess, WorkerProcesses, balanced
from securefl.member import MemberSpec
from securefl.runs.directory import RunDirectory
from securefl.runs.prepare import Prepared

SMALL_WORK = 3_000_000
"""Below so many training samples, starting worker processes costs more than it saves."""


def open_engine(prepared: Prepared, directory: RunDirectory) -> InProcess | WorkerProcesses:
    """The engine with all parties in it: the members, and the pooled reference if wanted.

    The pooled reference has a process of its own. It has as much work as all members together and
    no need to wait for rounds, so it fills the cores while members wait for each other.
    """
    config = prepared.config
    members = [
        MemberSpec(config, prepared.facts, data, directory.member_path(data.name))
        for data in prepared.members
    ]
    pooled = []
    if config.references.enabled:
        data = prepared.pooled()
        pooled = [MemberSpec(config, prepared.facts, data, directory.member_path(data.name))]
    workers = choose_workers(config.engine, config, sum(spec.cost for spec in members))
    if workers == 1:
        return InProcess([*members, *pooled])
    return WorkerProcesses([*balanced(members, workers), *([pooled] if pooled else [])])


def choose_workers(engine: EngineSettings, config: RunConfig, samples: int) -> int:
    """Worker processes for the members: as many as asked for, else one a core where it pays."""
    if engine.workers:
        return engine.workers
    work = samples * config.training.local_epochs * config.rounds
    return 1 if work < SMALL_WORK else len(os.sched_getaffinity(0))
