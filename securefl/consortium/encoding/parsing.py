"""Parsing of untrusted documents into models, with one-line error messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from securefl.errors import AgreementError
from securefl.untrusted.text import fault_at

ModelT = TypeVar("ModelT", bound=BaseModel)


def parsed(model: type[ModelT], tree: Mapping[str, Any], where: str) -> ModelT:
    """Validate a tree against a model.

    Args:
        model: The expected model.
        tree: Decoded JSON or TOML.
        where: Source of the tree, which error messages begin with.

    Raises:
        AgreementError: If it is invalid; the message is one line that names the key.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        # Inputs stay out of the message: it is shown and logged, and the file is another party's.
        first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "extra_forbidden":
        path = ".".join(str(part) for part in first["loc"])
        raise AgreementError(f"{where}: unknown key '{path}'")
    raise AgreementError(f"{where}: {fault_at(first)}")
