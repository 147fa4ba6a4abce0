"""Documents from outside become models, or one line that says what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from securefl.errors import AgreementError

ModelT = TypeVar("ModelT", bound=BaseModel)


def parsed(model: type[ModelT], tree: Mapping[str, Any], where: str) -> ModelT:
    """A model from a tree.

    Args:
        model: What the tree should be.
        tree: As JSON or TOML gave it.
        where: The file or thing, to begin the error with.

    Raises:
        AgreementError: If it is none; one line with the key.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        raise AgreementError(f"{where}: unknown key '{path}'")
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    raise AgreementError(f"{where}: {path}: {message}" if path else f"{where}: {message}")
