"""Facts: the public metadata that all members share (products, calendar, sizes), in one file.

On one machine a task derives them from all members' tables. Over a network no party has all tables,
so the facts are in a file that every party reads. The file's digest is part of the run's id, so
that parties with different facts cannot exchange messages.

Every member learns the content of the file; `docs/network.md` lists it for each task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import torch

from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration, resolve
from securefl.data.sources.public_catalogue import (
    agreed_alone,
    agreed_data,
    agreed_digest,
    common_data,
)
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.errors import AgreementError, InputError
from securefl.ml.tensor_io import write_atomically
from securefl.tasks.registry import check_model, create_task
from securefl.untrusted.files import MEBIBYTE, read_bytes, taken

_LARGEST = 1024 * MEBIBYTE

_VERSION = 2


_Classes = dict[str, Callable[..., Any]]


@dataclass(frozen=True)
class Facts:
    """Facts from a file.

    Attributes:
        digest: SHA-256 of the file.
        content: The task's own facts object.
    """

    digest: bytes
    content: Any


def make_facts(config: RunConfig, path: Path) -> Facts:
    """Write the facts of a configuration's data to a new file.

    Raises:
        InputError: If the data are wrong, or the file exists or cannot be written.
    """
    check_model(config)
    if taken(path):
        raise InputError(f"{path} exists; it was not touched")
    content, packed = _made(config, common_data(config.data, lambda: load(config.data)))
    write_atomically(path, packed)
    return Facts(sha256(packed).digest(), content)


def check_facts(config: RunConfig, facts: Facts) -> None:
    """Refuse facts that do not follow from the agreed catalogue and period.

    Without an agreed period they come from all members' tables, and no single member can check
    them.

    Args:
        config: What was agreed; the root of its data is the folder of the catalogue here.
        facts: The facts of the file.

    Raises:
        AgreementError: If they differ.
        InputError: If the catalogue is missing.
        DataError: If the catalogue is wrong.
    """
    settings = agreed_alone(config.data)
    if settings is None:
        return
    _, packed = _made(config, agreed_data(settings))
    if sha256(packed).digest() != facts.digest:
        raise AgreementError(
            "the facts are not those of the agreed catalogue and period: compare the catalogues,"
            " and make the facts anew with securefl facts"
        )


def _made(config: RunConfig, data: RetailData) -> tuple[object, bytes]:
    """Return the task's facts, and the bytes of their file."""
    content = create_task(config).agree(data)
    tree = {"version": _VERSION, "task": config.task, "facts": _plain(content)}
    settings = agreed_alone(config.data)
    if settings is not None:
        tree |= {"agreed": agreed_digest(settings, data)}
    return content, msgpack.packb(tree)


def read_facts(path: Path) -> Facts:
    """Return the facts in a file.

    Raises:
        InputError: If it is missing or damaged.
    """
    packed = read_bytes(path, _LARGEST)
    try:
        tree = msgpack.unpackb(packed)
        if tree["version"] != _VERSION:
            raise ValueError("another version")
        return Facts(sha256(packed).digest(), _built(tree["facts"], _classes(tree["task"])))
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException):
        raise InputError(f"{path} is damaged: no facts of a task") from None


def _plain(value: Any) -> Any:  # noqa: ANN401 - walks a tree
    if value is None or isinstance(value, int | float | str):
        return value
    if isinstance(value, np.ndarray):
        shape = list(value.shape)
        return {"array": [value.dtype.str, shape, np.ascontiguousarray(value).tobytes()]}
    if isinstance(value, torch.Tensor):
        return {"tensor": _plain(value.numpy())}
    if isinstance(value, tuple):
        return {"tuple": [_plain(part) for part in value]}
    if isinstance(value, pd.DataFrame):
        return {"frame": [[str(name), _column(value[name])] for name in value.columns]}
    if is_dataclass(value):
        parts = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"of": format_name(type(value)), "parts": parts}
    raise TypeError(f"facts hold a {type(value).__name__}")


def _column(column: pd.Series) -> Any:  # noqa: ANN401 - as above
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufbmM":
        return _plain(column.to_numpy())
    return {"text": [str(value) for value in column]}


def _classes(task: str) -> _Classes:
    """Return the classes of a task's facts by name; no other class is ever built from a file.

    The file comes from another party, so this list is what keeps it from being code.
    """
    kinds = (resolve(place) for place in declaration(task).facts)
    return {format_name(kind): kind for kind in kinds}


def format_name(kind: type) -> str:
    """Return the name of a class of facts in the file, which a rename in the code does not change.

    The file's digest is part of the run's id, so the name is frozen. It is not inherited: two
    classes would have the same name in the file.

    Raises:
        TypeError: If the class has no name of its own.
    """
    name = vars(kind).get("format_name")
    if not isinstance(name, str):
        raise TypeError(f"{kind.__qualname__} has no format_name of its own")
    return name


def _built(tree: Any, classes: _Classes) -> Any:  # noqa: ANN401 - as above
    if not isinstance(tree, dict):
        return tree
    if "of" in tree:
        parts = {name: _built(part, classes) for name, part in tree["parts"].items()}
        return classes[tree["of"]](**parts)
    ((form, content),) = tree.items()
    if form == "tuple":
        return tuple(_built(part, classes) for part in content)
    if form == "frame":
        return pd.DataFrame({name: _built(part, {}) for name, part in content})
    return _FORMS[form](content)


def _array(content: list[Any]) -> np.ndarray[Any, Any]:
    dtype, shape, data = content
    # Objects would be unpickled, which runs code of the file's author.
    if np.dtype(dtype).hasobject:
        raise ValueError("an array of objects")
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


_FORMS: dict[str, Callable[[Any], Any]] = {
    "array": _array,
    "tensor": lambda content: torch.from_numpy(_built(content, {})),
    "text": lambda content: pd.array(content, dtype="str"),
}
