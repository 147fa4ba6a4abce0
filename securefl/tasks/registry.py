"""Task names to tasks: the one line that a new task adds here."""

from __future__ import annotations

from importlib import import_module

from securefl.config.schema import RunConfig
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


def create_task(config: RunConfig) -> AnyTask:
    """The task that a configuration names."""
    module, name = _TASKS[config.task, config.model.name].split(":")
    task: AnyTask = getattr(import_module(module), name)(config)
    return task
