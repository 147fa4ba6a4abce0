"""From the folder of a model to what it serves: everything in it is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from securefl.config.data import FilesSettings
from securefl.config.load import validate
from securefl.config.schema import RunConfig
from securefl.config.task_registry import TASKS
from securefl.errors import ConfigError, InputError
from securefl.ml.parameters import joined_shared, load_shared, local_parameters
from securefl.ml.tensor_io import unpacked_tensors
from securefl.ml.vectors import ORDER, FloatVector, model_digest
from securefl.tasks.common.serving import OwnPart, ServedModel, load_rows
from securefl.tasks.registry import create_task
from securefl.tasks.served import manifest as m
from securefl.tasks.served.facts_files import joined_facts
from securefl.tasks.served.folder import json_bytes, read_file, read_manifest, read_tree
from securefl.tasks.served.vocabulary import Vocabulary
from securefl.tasks.served.writing import served_class
from securefl.untrusted.tensors import METADATA, tensor_header
from securefl_protocols.wire.context import labelled_digest

START_LABEL: Final = b"securefl/1/earlier-model"
_LARGEST_SIZE: Final = 1 << 20
"""Largest size in the settings of a model: a folder of a few bytes must not ask for terabytes."""


@dataclass(frozen=True)
class OpenedModel:
    """A model's folder, read.

    Attributes:
        folder: The folder.
        manifest: What it says of itself.
        config: The run's configuration.
        vocabulary: Its products.
        served: What it serves.
    """

    folder: Path
    manifest: m.Manifest
    config: RunConfig
    vocabulary: Vocabulary
    served: ServedModel


@dataclass(frozen=True)
class FolderParts:
    """What a member's and a released model's folder have in common, read.

    Attributes:
        folder: The folder.
        manifest: What it says of itself.
        config: The run's configuration.
        facts: What the members agreed on.
        vocabulary: Its products.
    """

    folder: Path
    manifest: m.Manifest
    config: RunConfig
    facts: Any
    vocabulary: Vocabulary

    def shared(self, model: nn.Module) -> FloatVector:
        """Return the shared part, float32 [d], of a model with its parameters.

        Raises:
            ValueError: If it is of another model than the settings or the manifest say.
        """
        vector = joined_shared(model, self.tensors(m.SHARED))
        if model_digest(vector).hex() != self.manifest.digest:
            raise ValueError(f"{m.SHARED} is not the model of the manifest")
        return vector

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one of its files; see `read_file`."""
        return _tensors(self.folder, self.manifest, name)


def read_parts(folder: Path) -> FolderParts:
    """Read what a member's and a released model's folder have in common.

    Raises:
        InputError: If it is none, or a file of it is missing, damaged or of another version.
    """
    manifest = read_manifest(folder)
    if manifest.task not in TASKS:
        raise InputError(f"{folder}: task '{manifest.task}' is not installed here")
    config = _config(folder, manifest)
    facts = joined_facts(
        read_tree(folder, manifest, m.FACTS_TREE),
        _tensors(folder, manifest, m.FACTS),
        config.task,
        str(folder / m.FACTS),
    )
    vocabulary_file = str(folder / m.VOCABULARY)
    vocabulary = Vocabulary.from_tree(read_tree(folder, manifest, m.VOCABULARY), vocabulary_file)
    if isinstance(config.data, FilesSettings) and vocabulary.labels is None:
        raise InputError(
            f"{folder} is of a coordinator, which has no labels of products: take the folder"
            " 'released' of a member, into which the coordinator's signatures.json may be copied"
        )
    return FolderParts(folder, manifest, config, facts, vocabulary)


def start_digest(parts: FolderParts) -> str:
    """Return the digest by which members agree to go on from a model, hex.

    It is the same for the released model and for each member's own, and covers what a start is
    computed from: the shared part, what its rows stand for, and how it was protected.
    """
    about, config = parts.manifest, parts.config
    tree = {
        "run": about.run,
        "agreement": about.agreement,
        "task": about.task,
        "digest": about.digest,
        "model": config.model.model_dump(mode="json"),
        "privacy": config.privacy.model_dump(mode="json"),
        "files": {name: about.files[name] for name in m.STARTED_FROM & about.files.keys()},
    }
    return labelled_digest(START_LABEL, json_bytes(tree)).hex()


def open_folder(folder: Path) -> OpenedModel:
    """Read a member's model.

    Raises:
        InputError: If it is none, or a file of it is missing, damaged or of another version.
    """
    parts = read_parts(folder)
    if parts.manifest.kind == "released":
        raise InputError(
            f"{folder} is the released shared model alone, without any member's own part;"
            " a member predicts with members/NAME/model"
        )
    with parts_fit(folder):
        served = _served(parts)
    return OpenedModel(folder, parts.manifest, parts.config, parts.vocabulary, served)


@contextmanager
def parts_fit(folder: Path) -> Iterator[None]:
    """Report whatever building a model out of a folder's files raises as one line.

    Raises:
        InputError: If they do not fit together.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AssertionError, AttributeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{folder} is damaged: its parts do not fit together: {reason}") from None


def released_tensors(
    tensors: Mapping[str, Tensor], content: bytes, where: str
) -> dict[str, Tensor]:
    """Return the tensors of a released model in the order that its file states.

    Raises:
        InputError: If it states none.
    """
    try:
        metadata = json.loads(tensor_header(content, where)[METADATA]["securefl"])
        order = json.loads(metadata[ORDER])
        found = {name: tensors[name] for name in order}
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{where} does not state the order of its tensors") from None
    if sorted(order) != sorted(tensors) or not found:
        raise InputError(f"{where} does not state the order of its tensors")
    return found


def _config(folder: Path, manifest: m.Manifest) -> RunConfig:
    tree, where = read_tree(folder, manifest, m.SETTINGS), str(folder / m.SETTINGS)
    if not isinstance(tree, dict):
        raise InputError(f"{where} is damaged: no settings")
    try:
        config = validate(tree, where)
    except ConfigError as error:
        raise InputError(str(error)) from None
    if (config.task, config.model.name) != (manifest.task, manifest.model):
        raise InputError(f"{where} is damaged: it is of another task or model")
    _check_sizes(config.model.model_dump(), where)
    # What a model is served on is decided by who opens it.
    engine = config.engine.model_copy(update={"device": "cpu"})
    return config.model_copy(update={"engine": engine, "warm_start": None, "start": None})


def _check_sizes(settings: Mapping[str, Any], where: str) -> None:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            _check_sizes(value, where)
        elif type(value) is int and value > _LARGEST_SIZE:
            raise InputError(f"{where} is damaged: model.{name} is larger than any such size")


def own_tensors(parts: FolderParts) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a member's local parameters, and what it serves beside the model.

    Raises:
        ValueError: If there is anything else.
    """
    own = parts.tensors(m.OWN)
    local, part = _below(own, "local/"), _below(own, "part/")
    if len(local) + len(part) != len(own):
        raise ValueError(f"{m.OWN} has tensors of neither kind")
    return local, part


def _served(parts: FolderParts) -> ServedModel:
    folder, manifest, facts = parts.folder, parts.manifest, parts.facts
    local, part = own_tensors(parts)
    task = create_task(parts.config)
    # One row more than there were customers: that of those who were not in the run.
    rows = len(part.get("customers", ()))
    with torch.random.fork_rng(devices=[]):  # a fresh model draws from the caller's generator
        model = task.model(facts, rows + 1)
        load_shared(model, parts.shared(model))
        state = {name: value.detach() for name, value in model.named_parameters()}
        if local_parameters(model).keys() != local.keys():
            raise ValueError("the names of local parameters do not match")
        load_rows(model, state | local)
        settings = read_tree(folder, manifest, m.OWN_SETTINGS)
        kept = OwnPart(part, settings, read_file(folder, manifest, m.KEY))
        return served_class(parts.config).opened(task, facts, model.eval(), kept)


def _tensors(folder: Path, manifest: m.Manifest, name: str) -> dict[str, Tensor]:
    return unpacked_tensors(read_file(folder, manifest, name), str(folder / name))


def _below(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
