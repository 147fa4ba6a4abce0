"""Defaults that are files of the package."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any


def packaged(name: str) -> dict[str, Any]:
    """The tree in `defaults/<name>.toml`."""
    file = resources.files("securefl.config") / "defaults" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))
