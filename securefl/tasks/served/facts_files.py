"""Facts of a task as two files: a tree in JSON, and its arrays as tensors of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from securefl.errors import InputError
from securefl.tasks.common.facts_tree import facts_of, facts_tree


def split_facts(facts: object) -> tuple[Any, dict[str, Tensor]]:
    """Return the tree of facts, in which arrays are named, and the arrays' bytes by name."""
    arrays: dict[str, Tensor] = {}

    def named(tree: Any) -> Any:  # noqa: ANN401 - walks a tree
        if isinstance(tree, bytes):
            name = f"array/{len(arrays)}"
            arrays[name] = torch.from_numpy(np.frombuffer(tree, dtype=np.uint8).copy())
            return {"bytes": name}
        if isinstance(tree, dict):
            return {key: named(value) for key, value in tree.items()}
        return [named(value) for value in tree] if isinstance(tree, list) else tree

    return named(facts_tree(facts)), arrays


def joined_facts(tree: Any, arrays: Mapping[str, Tensor], task: str, where: str) -> Any:  # noqa: ANN401
    """Return the facts of `split_facts`.

    Raises:
        InputError: If they are damaged.
    """

    def whole(part: Any) -> Any:  # noqa: ANN401 - walks a tree
        if isinstance(part, dict):
            if part.keys() == {"bytes"}:
                return arrays[part["bytes"]].numpy().tobytes()
            return {key: whole(value) for key, value in part.items()}
        return [whole(value) for value in part] if isinstance(part, list) else part

    try:
        return facts_of(whole(tree), task)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{where} is damaged: no facts of task '{task}'") from None
