"""The facts that all members train on the same of: products, calendar, sizes; one file, agreed.

On one machine a task reads them off everybody's tables. Where members have machines of their own
nobody sees everybody's tables, so the facts are written to a file, which every party reads. The
run's name is made of the file's digest: parties with different facts do not understand each other.

What the file says, every member learns. `docs/network.md` says for each task what that is.
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

_VERSION = 2


_Classes = dict[str, Callable[..., Any]]


@dataclass(frozen=True)
class Facts:
    """Facts as they were read.

    Attributes:
        digest: SHA-256 of the file.
        content: What the task calls facts.
    """

    digest: bytes
    content: Any


def make_facts(config: RunConfig, path: Path) -> Facts:
    """Write the facts that a configuration's data agree on to a new file.

    Raises:
        InputError: If the data are wrong, or the file exists or cannot be written.
    """
    check_model(config)
    if path.exists():
        raise InputError(f"{path} exists")
    content, packed = _made(config, common_data(config.data, lambda: load(config.data)))
    write_atomically(path, packed)
    return Facts(sha256(packed).digest(), content)


def check_facts(config: RunConfig, facts: Facts) -> None:
    """Refuse facts that are not those of the agreement, where it says what they are.

    Without an agreed period they come from everybody's tables, and nobody alone can check them.

    Args:
        config: What was agreed; the root of its data is where the catalogue lies here.
        facts: As they were read.

    Raises:
        AgreementError: If they are others.
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
    """Return what the task calls facts, and the file that holds them."""
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
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
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
    """Return what a task's facts may be made of: nothing else is ever built from a file."""
    kinds = (resolve(place) for place in declaration(task).facts)
    return {format_name(kind): kind for kind in kinds}


def format_name(kind: type) -> str:
    """Return what a class of facts is called in the file, whatever it is called in the code.

    The file's digest names the run, so this may not change. A class does not inherit it: two would
    be one in the file.

    Raises:
        TypeError: If the class says no name of its own.
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
    if np.dtype(dtype).hasobject:
        raise ValueError("an array of objects")
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


_FORMS: dict[str, Callable[[Any], Any]] = {
    "array": _array,
    "tensor": lambda content: torch.from_numpy(_built(content, {})),
    "text": lambda content: pd.array(content, dtype="str"),
}
