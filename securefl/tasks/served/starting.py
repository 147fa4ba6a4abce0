"""The agreed start of a run: from the seed, or from the model that an earlier run ended with.

The members agree on the digest of the earlier model; each of them has it from last month, and
computes from it and from this month's facts where the first round begins. Only the retailer's own
folder has local parameters: no row of another retailer's customers is ever read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig, StartSettings
from securefl.errors import InputError
from securefl.ml.device import seed_draws
from securefl.ml.item_rows import ItemRows, Passage, passage
from securefl.ml.parameters import joined_shared, local_state, named_shared, shared_vector
from securefl.ml.seeds import derive_seed
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import FloatVector
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.base import AnyTask
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.recommendation.customer_rows import CustomerRows
from securefl.tasks.recommendation.task import RankingMember
from securefl.tasks.registry import create_task
from securefl.tasks.served import manifest as m
from securefl.tasks.served.earlier_model import (
    agreed_digest,
    agreed_parts,
    check_agreed,
    own_folder,
    shared_folder,
)
from securefl.tasks.served.folder import read_file, read_tree
from securefl.tasks.served.opening import (
    FolderParts,
    own_tensors,
    parts_fit,
    read_parts,
    start_digest,
)
from securefl.tasks.served.retired import Labels, Retired, retired_of
from securefl.tasks.served.start_change import StartChange
from securefl.tasks.served.vocabulary import Vocabulary


@dataclass(frozen=True)
class OwnStart:
    """What a retailer takes along from its own folder.

    Attributes:
        local: Local parameters by name.
        optimizer: The optimizer's state by parameter and key; empty where none was kept.
    """

    local: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)


def started_from(config: RunConfig, path: Path) -> RunConfig:
    """Return a configuration whose training goes on from a model.

    Args:
        config: The configuration.
        path: A run's directory, the folder of a released model, or a member's own one.

    Raises:
        InputError: If it is none of these, damaged, or of another kind than the run.
    """
    digest = start_digest(read_parts(shared_folder(path)))
    start = (config.start or StartSettings()).model_copy(update={"model": digest})
    found = config.model_copy(update={"warm_start": str(path.resolve()), "start": start})
    agreed_parts(found).tensors(m.SHARED)  # before anything of the run is written
    return found


def starting_model(
    config: RunConfig,
    task: AnyTask,
    facts: Any,  # noqa: ANN401 - a task's own class
    vocabulary: Vocabulary | None = None,
) -> FloatVector:
    """Return the shared model before the first round, float32 [d].

    Args:
        config: The run's configuration.
        task: Its task.
        facts: What the members agree on.
        vocabulary: The products under their labels; not needed without an agreed earlier model.

    Raises:
        InputError: If the earlier model is missing, another one than agreed, or does not fit.
    """
    seed_draws(derive_seed(config.seed, "shared"))
    model = task.model(facts, 0)
    if config.goes_on:
        if vocabulary is None:
            raise InputError("no earlier model is carried over without the labels of the products")
        return Carrier.of(config, task, facts, vocabulary).shared(model)
    if config.warm_start is None:
        return shared_vector(model)
    tensors, _ = read_tensors(Path(config.warm_start))
    try:
        return joined_shared(model, tensors)
    except ValueError as error:
        raise InputError(f"{config.warm_start}: {error}") from None


def own_start(problem: LocalProblem, model: nn.Module, vocabulary: Vocabulary) -> OwnStart | None:
    """Return what a retailer takes along of its own; None where it starts without.

    Under a budget for customers nothing is taken along: local parameters and moments were learned
    without noise, and every customer's next gradient would depend on all others through them.

    Args:
        problem: Its learning problem.
        model: Its fresh model.
        vocabulary: This month's products under their labels.

    Raises:
        InputError: If its folder is damaged or of another run than was agreed.
    """
    config = problem.config
    if not config.goes_on or config.warm_start is None:
        return None
    if mechanism_for(config.privacy).by_example:
        return None
    folder = own_folder(Path(config.warm_start), problem.data.name)
    if folder is None:
        return None
    carrier = Carrier.of(config, problem.task, problem.facts, vocabulary)
    return carrier.own(read_parts(folder), problem, model)


def carrier_of(
    config: RunConfig,
    task: AnyTask,
    facts: Any,  # noqa: ANN401 - a task's own class
    vocabulary: Vocabulary,
) -> Carrier | None:
    """Return the agreed earlier model; None where a run starts from the seed.

    Raises:
        InputError: See `starting_model`.
    """
    if not config.goes_on or config.warm_start is None:
        return None
    return Carrier.of(config, task, facts, vocabulary)


@dataclass(frozen=True)
class Carrier:
    """An earlier model, and its way into this month's.

    Attributes:
        config: This month's configuration.
        parts: The folder of the earlier model.
        before: A model of its kind; its values do not matter.
        way: From its products to this month's.
        labels: Labels of its products and of this month's.
        retired: Rows of products that months before it had.
    """

    config: RunConfig
    parts: FolderParts
    before: nn.Module
    way: Passage
    labels: Labels
    retired: Retired

    @classmethod
    def of(cls, config: RunConfig, task: AnyTask, facts: Any, vocabulary: Vocabulary) -> Carrier:  # noqa: ANN401
        """Read the agreed model, and compare its products with this month's.

        Raises:
            InputError: See `starting_model`.
        """
        parts = agreed_parts(config)
        with torch.random.fork_rng(devices=[]):
            after = _rows(task, task.model(facts, 0), facts, config)
            old_task = create_task(parts.config)
            with parts_fit(parts.folder):
                before = old_task.model(parts.facts, 0)
        old = _rows(old_task, before, parts.facts, parts.config)
        labels = _labels(old, parts.vocabulary), _labels(after, vocabulary)
        way = passage(old, after, labels)
        return cls(config, parts, before, way, labels, _retired(parts))

    def shared(self, model: nn.Module) -> FloatVector:
        """Return the start of a fresh model's shared part, float32 [d].

        Raises:
            InputError: If the two are not of the same model.
        """
        with parts_fit(self.parts.folder):
            known = named_shared(self.before, self.parts.shared(self.before))
        return joined_shared(model, self._carried(known, named_shared(model, shared_vector(model))))

    def own(self, parts: FolderParts, problem: LocalProblem, model: nn.Module) -> OwnStart:
        """Return a retailer's own part, from its own folder.

        Raises:
            InputError: If the folder is another model's than was agreed, or damaged.
        """
        check_agreed(parts, self.config)
        with parts_fit(parts.folder):
            local, part = own_tensors(parts)
            rows = self._customers(parts, part, problem)
            fresh = local_state(model)
            found = {name: self._local(name, local[name], fresh[name], rows) for name in fresh}
            moments = self._optimizer(parts, model, rows)
        return OwnStart(found, moments)

    def keeps(self) -> Retired:
        """Return the rows of products that this run has not; none where they are dropped."""
        if self.config.start is None or self.config.start.removed == "drop":
            return Retired()
        with parts_fit(self.parts.folder):
            known = named_shared(self.before, self.parts.shared(self.before))
            return retired_of(self.way.before, self.labels, known, self.retired)

    def change(self) -> StartChange:
        """Return what is new."""
        before, after = (set(labels) - {""} for labels in self.labels)
        assert self.config.start is not None
        kept = self.config.start.removed == "keep"
        agreed = agreed_digest(self.config) or ""
        return StartChange(agreed, len(after), len(after - before), len(before - after), kept)

    def _carried(
        self, known: Mapping[str, Tensor], fresh: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        if known.keys() != fresh.keys():
            raise InputError(f"{self.parts.folder} is of another model: other parameters")
        try:
            carried = {name: self.way.carried(name, known[name], fresh[name]) for name in fresh}
            return self.retired.returned(carried, self.way.after, self.labels)
        except ValueError as error:
            raise InputError(f"{self.parts.folder} is of another model: {error}") from None

    def _local(self, name: str, value: Tensor, fresh: Tensor, rows: Tensor | None) -> Tensor:
        if name not in self.way.after.customers:
            return self.way.carried(name, value, fresh)
        if rows is None or value.shape[1:] != fresh.shape[1:]:
            raise ValueError(f"{name} has rows of other customers")
        known = rows < len(value)
        found = fresh.clone()
        found[known] = value[rows[known]]
        return found

    def _customers(
        self, parts: FolderParts, part: Mapping[str, Tensor], problem: LocalProblem
    ) -> Tensor | None:
        """Return each customer's row in the earlier model, int64 [n]; its length for new ones."""
        if not self.way.after.customers:
            return None
        assert isinstance(problem.data, RankingMember)
        key = read_file(parts.folder, parts.manifest, m.KEY)
        found = CustomerRows(key, part["customers"]).of_customers(problem.data.ids)
        return torch.from_numpy(found)

    def _optimizer(
        self, parts: FolderParts, model: nn.Module, rows: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the optimizer's state; of what is new, the moments are 0."""
        if m.OPTIMIZER not in parts.manifest.files:
            return {}
        if self.config.training.optimizer_state == "reset":
            return {}
        shapes = {n: torch.zeros_like(p.detach()) for n, p in model.named_parameters()}
        found = {}
        for key, value in parts.tensors(m.OPTIMIZER).items():
            name = key.rpartition("/")[0]
            found[key] = value if value.ndim == 0 else self._local(name, value, shapes[name], rows)
        return found


def _retired(parts: FolderParts) -> Retired:
    """Return the rows of removed products in a model's folder."""
    if m.RETIRED not in parts.manifest.files:
        return Retired()
    labels = read_tree(parts.folder, parts.manifest, m.RETIRED_LABELS)
    with parts_fit(parts.folder):
        if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
            raise ValueError("the labels of removed products are no texts")
        return Retired(tuple(labels), parts.tensors(m.RETIRED))


def _rows(task: AnyTask, model: nn.Module, facts: Any, config: RunConfig) -> ItemRows:  # noqa: ANN401
    found: ItemRows | None = task.item_rows(model, facts)
    if found is None:
        raise InputError(
            f"model '{config.model.name}' of task '{config.task}' is computed from the data of one"
            " run alone; it goes on from none (leave out --from)"
        )
    return found


def _labels(rows: ItemRows, vocabulary: Vocabulary) -> list[str]:
    """Return the items' labels; that of everything without an id is empty."""
    known = rows.items >= 0
    found = np.full(len(rows.items), "", dtype=object)
    found[known] = [str(one) for one in vocabulary.label(rows.items[known])]
    return [str(one) for one in found]
