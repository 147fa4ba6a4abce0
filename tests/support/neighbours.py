"""D against D without one unit, for every task, model, unit, mechanism and gradient path.

`python -m support.neighbours_page` runs all of it, and writes the table in
docs/explanation/one-unit.md. What is compared follows from the registries, so
that a task, a model or a mechanism is in it without being named here.

The random draws of a unit are coupled: each unit is sent through the private trainer by itself,
and from the same state of torch's generator, so that its part can differ between the two data sets
only where it depends on other units.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from securefl.config.load import load_config
from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.config.task_registry import TASKS, declaration
from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.federation.member.updates.factory import round_training
from securefl.federation.member.updates.gradient_sums import DoubleExamples
from securefl.federation.runs.prepare import starting_model
from securefl.ml.parameters import load_shared
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.distributed_plan import plan_of
from securefl.privacy.dpsgd.per_example import UnsupportedLayerError
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.encoding.gradients import gradient_integers
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.registry import check_model, create_task
from support.neighbours_data import BASE, KINDS, MEMBERS, agreed, neighbours, receipts

PATHS = ("hooks", "bookkeeping", "vectorised")
SEED = 11
REFUSED = "refused"
"""By the path, for the model's layers: it is refused without reading a unit."""
_FEW = 64
SLACK = 1 + 1e-6
"""Largest ratio of what a unit moves to the stated sensitivity."""


@dataclass(frozen=True)
class Case:
    """What the registries know: one row of the table."""

    task: str
    model: str
    unit: str
    dp: str
    path: str

    @property
    def config(self) -> RunConfig:
        """The task's own defaults, with this model and budget."""
        privacy = {
            "dp": self.dp,
            "unit": self.unit,
            "epsilon": 8.0,
            "delta": 1e-5,
            "sampling_rate": 1.0,
            "expected_batch": 8.0,
            "insecure_testing_seed": 1,
        }
        source = next(iter(declaration(self.task).defaults))
        gradients = {"gradients": self.path} if self.path in PATHS else {}
        tree = {
            "task": self.task,
            "data": {"source": source},
            "model": {"name": self.model},
            "privacy": privacy | gradients,
        }
        return load_config(None, tree)


def cases(paths: Sequence[str] = PATHS) -> Iterator[Case]:
    """Yield every combination that the registries of tasks and mechanisms allow."""
    for task in TASKS:
        spec = declaration(task)
        for choice in spec.models:
            for unit in choice.units:
                for dp in choice.protections:
                    if not _is_allowed(task, choice.name, unit, dp):
                        continue
                    private = mechanism_for(
                        PrivacySettings(dp=dp, unit=unit, epsilon=8.0, **_of(dp, unit))
                    )
                    ways = ("series",) if spec.releases == "series" else tuple(paths)
                    for path in ways if private.by_example else ("whole update",):
                        yield Case(task, choice.name, unit, dp, path)


def _of(dp: str, unit: str) -> dict[str, Any]:
    return ({"steps": 1} if dp == "distributed" else {}) | (
        {"sampling_rate": 1.0} if unit == "member" else {}
    )


def _is_allowed(task: str, model: str, unit: str, dp: str) -> bool:
    """Return whether a configuration allows it; only a sum can hide a member."""
    try:
        check_model(Case(task, model, unit, dp, "").config)
    except InputError:
        if unit != "member" or dp == "distributed":
            raise
        return False
    return True


# -- what is released ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Released:
    """What one retailer releases in some steps, before noise.

    Attributes:
        parts: Each unit's own part of the sums, float64 [n, d]; of a series, none is told apart.
        total: The released quantity, in units of its stated sensitivity, float64 [d].
    """

    parts: np.ndarray[Any, Any]
    total: np.ndarray[Any, Any]


class Retailer:
    """One case's retailer, whose customers are given."""

    def __init__(self, case: Case, *, hostile: bool = False) -> None:
        self.case, self.config = case, case.config
        self.task = create_task(self.config)
        self.facts = self.task.agree(agreed())
        self.shared = starting_model(self.config, self.task, self.facts)
        if hostile:
            self.shared = self._hostile()
        self.number = self.config.rounds

    def released(self, lines: pd.DataFrame) -> Released:
        """Return what the retailer releases of these lines."""
        tables = RetailerTables("retailer-0", lines.reset_index(drop=True))
        data = self.task.prepare(tables, self.facts)
        learner = LocalProblem(self.config, self.task, self.facts, data)
        if self.case.path == "series":
            return self._series(data)
        if self.case.path == "whole update":
            return self._update(learner)
        return self._gradients(learner)

    def _series(self, data: Any) -> Released:
        series = self.task.input_perturbation.bounded_series(data).reshape(-1)
        bound = mechanism_for(self.config.privacy).unit.series_bound(self.config.privacy)
        return Released(np.zeros((0, len(series))), series / bound)

    def _update(self, learner: LocalProblem) -> Released:
        with tempfile.TemporaryDirectory() as folder:
            model = learner.fresh_model("init")
            load_shared(model, self.shared)
            training = round_training(learner, model, Path(folder), _Free(), MEMBERS * 20)
            integers = training.integers(self.number, AesCtrRng(), _Free())
        total = integers.astype(np.float64) / training.plan.code.sensitivity.l2
        return Released(total[None], total)

    def _gradients(self, learner: LocalProblem) -> Released:
        parts = self._parts(learner)
        total, settings = parts.sum(axis=0), self.config.privacy
        if self.case.dp != "distributed":
            return Released(parts, total / settings.clip_norm)
        plan = plan_of(self.config, MEMBERS, len(total))
        integers = gradient_integers(total, settings, 2.0**20)
        return Released(parts, integers / plan.code.sensitivity.l2)

    def _parts(self, learner: LocalProblem) -> np.ndarray[Any, Any]:
        """Return each unit's clipped gradient of the second step, float64 [n, d].

        In the first one the units' own rows move; where there are none, it is left out.
        """
        units, double = learner.units(self.number), self.case.dp == "distributed"
        with tempfile.TemporaryDirectory() as folder:
            model = learner.fresh_model("init")
            round_training(learner, model, Path(folder), _Free(), MEMBERS)
        load_shared(model, self.shared)
        private = PrivateTrainer(
            model.double() if double else model,
            DoubleExamples(units) if double else units,
            self.task.loss,
            _constants(self.config.privacy),
            stream=AesCtrRng(),
            accountant=PrivacyAccountant("rdp"),
        )
        model.train()
        private.clipped_sum(torch.zeros(0, dtype=torch.int64))  # checks the layers, without data
        found: list[np.ndarray[Any, Any]] = []
        for unit in range(len(units)):
            for step in range(2) if private.rows.tables else (1,):
                torch.manual_seed(SEED + step)
                part = private.clipped_sum(torch.tensor([unit]))
            found.append(part.double().numpy())
        private.close()
        return np.stack(found) if found else np.zeros((0, len(self.shared)))

    def _hostile(self) -> np.ndarray[Any, Any]:
        """Return weights that a coordinator made up: large, and of many sizes."""
        rng = np.random.default_rng(3)
        # Of few parameters, large ones saturate every unit's loss, and nothing would move at all.
        most = 4 if len(self.shared) >= _FEW else 1
        scale = 10.0 ** rng.uniform(-2, most, len(self.shared))
        return (rng.normal(size=len(self.shared)) * scale).astype(np.float32)


class _Free:
    """A ledger that lets everything pass; nothing here is released."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: ()


def _constants(settings: PrivacySettings) -> PrivateSettings:
    return PrivateSettings(
        sampling=SamplingPlan(1.0, 1, settings.expected_batch),
        clip_norm=settings.clip_norm,
        noise_multiplier=0.0,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        path=settings.gradients,
    )


# -- comparison ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What the removal of one unit did, at most over several pairs of data sets.

    Attributes:
        ratio: Movement of the released quantity, in units of the stated sensitivity.
        others: Movement of any other unit's part, in clip norms; NaN where parts are not told
            apart.
        where: The pair with the largest ratio, or that the path refuses the model.
    """

    ratio: float = 0.0
    others: float = float("nan")
    where: str = ""

    def joined(self, other: Found) -> Found:
        larger = max(self, other, key=lambda found: found.ratio)
        return replace(larger, others=np.fmax(self.others, other.others))


def compared(more: Released, less: Released, clip_norm: float, where: str) -> Found:
    """Return what moved between D and D without one unit."""
    ratio = float(np.linalg.norm(more.total - less.total))
    return Found(ratio, _others(more.parts, less.parts) / clip_norm, where)


def _others(more: np.ndarray[Any, Any], less: np.ndarray[Any, Any]) -> float:
    """Return the largest change of a part that both have, wherever the one more stands."""
    if len(more) < len(less):  # where records collide, one more record is one part less
        more, less = less, more
    if len(more) > len(less) + 1 or not len(less):
        return float("inf") if len(more) > 1 else float("nan")
    if more.shape[0] == less.shape[0]:
        # No unit more: the parts may be equal, or one of them may be hers with what she added.
        moved = np.sort(np.linalg.norm(more - less, axis=1))
        return float(moved[:-1].max(initial=0.0))
    places = [np.delete(more, place, axis=0) for place in range(len(more))]
    return min(float(np.linalg.norm(left - less, axis=1).max()) for left in places)


def largest(
    case: Case, *, kinds: Sequence[str] = KINDS, customers: int = 6, hostile: bool = False
) -> Found:
    """Return the largest movements over all adversaries."""
    retailer, found, known = Retailer(case, hostile=hostile), Found(), {}
    if case.unit == "member":
        return _of_whole_members(case, retailer, kinds)
    try:
        retailer.released(receipts(BASE, seed=9)[:0])
    except UnsupportedLayerError:
        return Found(where=REFUSED)
    for where, more, less in neighbours(case.unit, kinds=kinds, customers=customers):
        sides = []
        for lines in (more, less):
            if id(lines) not in known:
                known[id(lines)] = (lines, retailer.released(lines))
            sides.append(known[id(lines)][1])
        found = found.joined(compared(*sides, case.config.privacy.clip_norm, where))
    return found


def _of_whole_members(case: Case, retailer: Retailer, kinds: Sequence[str]) -> Found:
    """Without a member its part of the sum is missing; other members never see its data."""
    found = Found()
    for where, more, _ in neighbours("customer", kinds=kinds, customers=6):
        try:
            whole = retailer.released(more)
        except InputError:  # the whole member is left out before the run, and others see no data
            continue
        nothing = Released(whole.parts[:0], np.zeros_like(whole.total))
        found = found.joined(compared(whole, nothing, case.config.privacy.clip_norm, where))
    return found


def rows(paths: Sequence[str] = PATHS, **options: Any) -> Iterator[tuple[Case, str, Found]]:
    """Yield each case under the agreed and under hostile weights, and what was found."""
    for case in cases(paths):
        for weights in ("agreed",) if case.path == "series" else ("agreed", "hostile"):
            yield case, weights, largest(case, hostile=weights == "hostile", **options)
