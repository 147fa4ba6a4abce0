"""Facts of a task as a tree of plain values, and back: the form in which they are written to files.

Files come from other parties, so a tree is built into classes that its task names and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from securefl.config.task_registry import declaration, resolve

_Classes = dict[str, Callable[..., Any]]


def facts_of(tree: Any, task: str) -> Any:  # noqa: ANN401 - a task's own class
    """Return the facts in a tree of `facts_tree`.

    Raises:
        ValueError: If it is no such tree; also TypeError, KeyError and AttributeError.
    """
    return _built(tree, _classes(task))


def facts_tree(value: Any) -> Any:  # noqa: ANN401 - walks a tree
    """Return facts as dictionaries, lists, numbers, strings and bytes.

    Raises:
        TypeError: If they hold anything else.
    """
    if value is None or isinstance(value, int | float | str):
        return value
    if isinstance(value, np.ndarray):
        shape = list(value.shape)
        return {"array": [value.dtype.str, shape, np.ascontiguousarray(value).tobytes()]}
    if isinstance(value, torch.Tensor):
        return {"tensor": facts_tree(value.numpy())}
    if isinstance(value, tuple):
        return {"tuple": [facts_tree(part) for part in value]}
    if isinstance(value, pd.DataFrame):
        return {"frame": [[str(name), _column(value[name])] for name in value.columns]}
    if is_dataclass(value):
        parts = {field.name: facts_tree(getattr(value, field.name)) for field in fields(value)}
        return {"of": format_name(type(value)), "parts": parts}
    raise TypeError(f"facts hold a {type(value).__name__}")


def _column(column: pd.Series) -> Any:  # noqa: ANN401 - as above
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufbmM":
        return facts_tree(column.to_numpy())
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
