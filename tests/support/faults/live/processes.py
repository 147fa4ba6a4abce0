"""What the processes of a consortium do: the real services, with a note of what went in and out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from securefl.consortium.ledger import hash_chain, witness
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import MaskedSum, SecureAggregator
from securefl.federation.member.open_session import TrainedUpdate
from securefl.federation.member.secure_client import MaskedMember
from securefl.federation.services.coordinator import coordinate
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.transport.timeouts import TimeoutPolicy
from support.consortium_processes import Village
from support.nats_cluster import begin_process

if TYPE_CHECKING:
    from securefl.federation.transport.exchange import Exchange
    from securefl.ml.vectors import FloatVector

QUICK = {"tick": 0.02, "step": 20.0, "training": 40.0, "silence": 5.0, "least": 5.0}


def wrong_clock(path: Path) -> None:
    """Have this process's clock on the wall be wrong by the seconds in a file."""
    now = time.time

    def offset() -> float:
        try:
            return float(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0.0

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=offset())

    for module in (hash_chain, witness):
        module.datetime = Shifted  # type: ignore[misc, assignment]
    time.time = lambda: now() + offset()


def note_inputs(folder: Path, name: str) -> None:
    """Keep what this member enters into each round, before it is masked."""
    enter = MaskedMember.enter

    def noted(self: MaskedMember, request: m.TrainMasked, update: TrainedUpdate) -> m.Message:
        path = folder / f"input-{request.round}-{name}.npz"
        np.savez(path, change=update.change, loss=update.loss, samples=update.samples)
        return enter(self, request, update)

    MaskedMember.enter = noted  # type: ignore[method-assign]


def note_sums(folder: Path) -> None:
    """Keep the integers that the coordinator unmasks in each round, and whose they are."""
    masked_sum = SecureAggregator.masked_sum

    def noted(
        self: SecureAggregator,
        exchange: Exchange,
        number: int,
        shared: FloatVector,
        cohort: tuple[str, ...],
    ) -> MaskedSum:
        result = masked_sum(self, exchange, number, shared, cohort)
        np.save(folder / f"sum-{number}.npy", result.total)
        names = json.dumps([list(cohort), list(result.survivors), shared.shape[0]])
        (folder / f"sum-{number}.json").write_text(names, encoding="utf-8")
        return result

    SecureAggregator.masked_sum = noted  # type: ignore[method-assign]


def live_member(village: Village, name: str, state: Path) -> None:
    """Be a member until the run is over."""
    begin_process(village.folder, name)
    wrong_clock(village.folder / f"{name}.clock")
    note_inputs(village.folder / "notes", name)
    serve(village.context(name), MemberPaths(state, village.folder / name / "books", None, None))


def live_coordinator(village: Village, out: Path, patience: Mapping[str, float]) -> None:
    """Be the coordinator until the run is over."""
    begin_process(village.folder, "hub")
    wrong_clock(village.folder / "hub.clock")
    note_sums(village.folder / "notes")
    coordinate(village.context("hub"), out, TimeoutPolicy(**patience))
