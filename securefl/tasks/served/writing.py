"""From a member's learning problem and the result of a run to the folder of its model."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from securefl._version import __version__
from securefl.config.data import FilesSettings, MemberFiles
from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration, resolve
from securefl.ml.metrics.sums import GROUPS, standard_errors, total
from securefl.ml.parameters import load_local, load_shared, local_state, named_shared, shared_vector
from securefl.ml.tensor_io import packed_tensors
from securefl.ml.vectors import ORDER, FloatVector, model_digest
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.serving import ServedModel
from securefl.tasks.registry import create_task
from securefl.tasks.served import manifest as m
from securefl.tasks.served.card import model_card
from securefl.tasks.served.facts_files import split_facts
from securefl.tasks.served.folder import json_bytes, write_folder
from securefl.tasks.served.retired import Retired
from securefl.tasks.served.vocabulary import Vocabulary

RELEASED: Final = "released"
"""Name of the folder with the shared model alone."""


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from.

    Attributes:
        members: Who took part, in roster order.
        agreement: Fingerprint of the agreement.
        run: Name of the run, 32 bytes.
        protection: What protects customers in the shared part, in one sentence.
    """

    members: tuple[str, ...]
    agreement: str
    run: bytes
    protection: str


@dataclass(frozen=True)
class TakenAlong:
    """What only the next run needs, beside a model.

    Attributes:
        retired: Rows of removed products.
        optimizer: The optimizer's state, by `parameter/key`; never in a released model.
    """

    retired: Retired = field(default_factory=Retired)
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)

    def shared_files(self) -> dict[str, bytes]:
        """Return the files that a released model may have as well."""
        if not self.retired.labels:
            return {}
        return {
            m.RETIRED: packed_tensors(self.retired.rows, {}),
            m.RETIRED_LABELS: json_bytes(list(self.retired.labels)),
        }

    def files(self) -> dict[str, bytes]:
        """Return all files."""
        own = {m.OPTIMIZER: packed_tensors(self.optimizer, {})} if self.optimizer else {}
        return self.shared_files() | own


def served_class(config: RunConfig) -> type[ServedModel]:
    """Return the class of what a member serves under a configuration."""
    choice = declaration(config.task).choice(config.model.name)
    assert choice is not None  # the configuration was validated
    found: type[ServedModel] = (
        resolve(choice.served) if isinstance(choice.served, str) else choice.served
    )
    return found


def vocabulary_of(
    config: RunConfig,
    facts: Any,  # noqa: ANN401 - a task's own class
    catalogue: pd.DataFrame | None,
) -> Vocabulary:
    """Return what a model has to know of the agreed catalogue, `RetailData.products`."""
    listed = facts.products if served_class(config).verb == "recommend" else None
    return Vocabulary.of(catalogue, listed)


def write_member_model(
    folder: Path,
    problem: LocalProblem,
    shared: FloatVector,
    local: Mapping[str, Tensor],
    *,
    vocabulary: Vocabulary,
    provenance: Provenance,
    along: TakenAlong | None = None,
) -> None:
    """Write what a member serves after a run into a folder that its owner alone may read.

    Args:
        folder: The folder; one that is there is replaced.
        problem: The member's learning problem.
        shared: The run's result, float32 [d].
        local: The member's local parameters beside it.
        vocabulary: The products under the labels that the members agreed on.
        provenance: Where the model comes from.
        along: What only the next run needs; nothing by default.

    Raises:
        RunDirectoryError: If it cannot be written.
    """
    model = problem.fresh_model("served")
    load_shared(model, shared)
    load_local(model, local)
    kind = served_class(problem.config)
    with torch.no_grad():
        served = kind.of_member(problem, model.to("cpu").eval())
        metrics = _figures(served, problem)
    own = served.own_part()
    about = _manifest(problem.config, shared, provenance).model_copy(
        update={"kind": "member", "member": problem.data.name, "metrics": metrics}
    )
    tensors = {f"local/{name}": value for name, value in local_state(model).items()}
    tensors |= {f"part/{name}": value for name, value in own.tensors.items()}
    data = (
        f"{problem.data.samples:,} training samples of {problem.data.name}, source"
        f" `{problem.config.data.source}`."
    )
    files = _common_files(problem.config, problem.facts, model, vocabulary)
    files |= (along or TakenAlong()).files()
    files |= {
        m.OWN: packed_tensors(tensors, {}),
        m.OWN_SETTINGS: json_bytes(dict(own.settings)),
        m.KEY: own.key,
        m.CARD: model_card(about, problem.config, kind, data).encode(),
    }
    write_folder(folder, about, files, private=True)


def write_released_model(
    folder: Path,
    config: RunConfig,
    facts: Any,  # noqa: ANN401 - a task's own class
    shared: FloatVector,
    *,
    vocabulary: Vocabulary,
    provenance: Provenance,
    along: TakenAlong | None = None,
) -> None:
    """Write the released shared model alone; the arguments are those of `write_member_model`.

    Raises:
        RunDirectoryError: If it cannot be written.
    """
    model = create_task(config).model(facts, 0)
    load_shared(model, shared)
    about = _manifest(config, shared, provenance)
    files = _common_files(_given_away(config), facts, model, vocabulary)
    files |= (along or TakenAlong()).shared_files()
    data = f"Purchases of {len(provenance.members)} retailers, source `{config.data.source}`."
    files[m.CARD] = model_card(about, config, served_class(config), data).encode()
    write_folder(folder, about, files, private=False)


def _manifest(config: RunConfig, shared: FloatVector, provenance: Provenance) -> m.Manifest:
    return m.Manifest(
        kind="released",
        task=config.task,
        model=config.model.name,
        member=None,
        members=provenance.members,
        digest=model_digest(shared).hex(),
        agreement=provenance.agreement,
        run=provenance.run.hex(),
        protection=provenance.protection,
        metrics={},
        versions={
            "securefl": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        files={},
    )


def _common_files(
    config: RunConfig,
    facts: Any,  # noqa: ANN401 - a task's own class
    model: nn.Module,
    vocabulary: Vocabulary,
) -> dict[str, bytes]:
    """Return what a member's and the released model have in common."""
    shared = named_shared(model, shared_vector(model))
    tree, arrays = split_facts(facts)
    # With the order, a reader without the model's code has the vector that members signed.
    return {
        m.SHARED: packed_tensors(shared, {"task": config.task, ORDER: json.dumps(list(shared))}),
        m.FACTS: packed_tensors(arrays, {}),
        m.FACTS_TREE: json_bytes(tree),
        m.SETTINGS: json_bytes(config.model_dump(mode="json")),
        m.VOCABULARY: json_bytes(vocabulary.tree()),
    }


def _given_away(config: RunConfig) -> RunConfig:
    """Return the configuration without what it says of any retailer's files."""
    config = config.model_copy(update={"warm_start": None})
    data = config.data
    if not isinstance(data, FilesSettings):
        return config
    members = tuple(MemberFiles(name=one.name, transactions="-") for one in data.members)
    plain = FilesSettings(catalogue=Path("-"), members=members, period=data.period)
    return config.model_copy(update={"data": plain})


def _figures(served: ServedModel, problem: LocalProblem) -> dict[str, m.Figure]:
    """Return the metrics of what is served on the member's test cases, with standard errors."""
    found = total(served.evaluate(problem.data, "test").values()).values()
    groups = [
        total(served.evaluate(part, "test").values()) for part in served.parts(problem.data, GROUPS)
    ]
    errors = standard_errors(groups)
    return {
        name: m.Figure(
            value=value if math.isfinite(value) else None, standard_error=errors.get(name)
        )
        for name, value in found.items()
    }
