"""The engines of simulated runs: the local one, and those that installed distributions register."""

from __future__ import annotations

from importlib.metadata import entry_points

from securefl.config.schema import ENGINES, LOCAL_ENGINE
from securefl.errors import ConfigError
from securefl.federation.transport.base import Engine
from securefl.federation.transport.local import open_local


def engine_of(name: str) -> Engine:
    """Return the engine of a valid `engine.name`; an installed one is imported only here.

    Raises:
        ConfigError: If two distributions register the name: which one runs must not be chance.
    """
    if name == LOCAL_ENGINE:
        return open_local
    registered, *others = entry_points(group=ENGINES, name=name)
    if others:
        raise ConfigError(f"engine.name: more than one distribution registers '{name}'")
    engine: Engine = registered.load()
    return engine
