"""Task names to tasks: the one line that a new task adds here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from securefl.config.schema import RunConfig
from securefl.errors import ConfigError

if TYPE_CHECKING:  # a configuration is checked without waiting for torch
    from securefl.tasks.base import AnyTask

_TASKS = {
    ("recommendation", "mf"): "securefl.tasks.recommendation:RecommendationTask",
    ("recommendation", "ncf"): "securefl.tasks.recommendation:RecommendationTask",
    ("recommendation", "rating-ncf"): "securefl.tasks.rating:RatingTask",
    ("demand", "forecaster"): "securefl.tasks.demand:DemandTask",
    ("demand", "tutorial-forecaster"): "securefl.tasks.demand:DemandTask",
}


def models_of(task: str) -> tuple[str, ...]:
    """The models that a task can train."""
    return tuple(model for name, model in _TASKS if name == task)


def check_model(config: RunConfig) -> None:
    """Refuse a model of another task.

    Raises:
        ConfigError: If the task cannot train the model.
    """
    known = models_of(config.task)
    if config.model.name not in known:
        raise ConfigError(
            f"model.name: task '{config.task}' trains {', '.join(known)}, not '{config.model.name}'"
        )


def create_task(config: RunConfig) -> AnyTask:
    """The task that a configuration names."""
    module, name = _TASKS[config.task, config.model.name].split(":")
    task: AnyTask = getattr(import_module(module), name)(config)
    return task
