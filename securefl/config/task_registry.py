"""Task names to specifications, and `module:Class` strings to classes.

The only place of the core, beside the lazy public names, that imports a module by its name.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from securefl.config.metric_labels import register_labels
from securefl.config.task_spec import TaskSpec
from securefl.errors import ConfigError

GROUP: Final = "securefl.tasks"
"""The group of entry points under which distributions, this one too, register tasks."""
DEFAULT_TASK: Final = "recommendation"
_REGISTERED: Final = entry_points(group=GROUP)
TASKS: Final = tuple(sorted(_REGISTERED.names, key=lambda name: (name != DEFAULT_TASK, name)))
"""All tasks, the default first; names alone are read, and no task is imported."""


@cache
def declaration(task: str) -> TaskSpec:
    """Return what a task says of itself.

    Raises:
        KeyError: If there is no such task.
        ConfigError: If two distributions register the name, since which one trains must not be
            chance, or if what is registered cannot be loaded.
    """
    registered = tuple(_REGISTERED.select(name=task))
    if not registered:
        raise KeyError(task)
    if len(registered) > 1:
        found = ", ".join(sorted(entry.value for entry in registered))
        raise ConfigError(f"task: '{task}' is registered more than once: {found}")
    try:
        loaded = registered[0].load()
    # TypeError: a specification lacks what every task has to say, such as what it serves.
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(f"task: '{task}' cannot be loaded: {error}") from error
    if not isinstance(loaded, TaskSpec):
        raise ConfigError(f"task: '{task}' is registered as {registered[0].value}, which is none")
    register_labels(loaded.labels)
    return loaded


def resolve(place: str) -> Any:  # noqa: ANN401 - a class of any task
    """Return what stands at `module:name`; its module is imported only here and now."""
    module, name = place.split(":")
    return getattr(import_module(module), name)
