"""Task names to tasks: the one line that a new task adds here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from securefl.errors import ConfigError
from securefl.evaluation.labels import register_labels
from securefl.tasks.declaration import TaskDeclaration

if TYPE_CHECKING:  # a configuration is checked without waiting for torch
    from securefl.config.schema import RunConfig
    from securefl.tasks.base import AnyTask

_TASKS: Final = {
    "recommendation": "securefl.tasks.declared:RECOMMENDATION",
    "demand": "securefl.tasks.declared:DEMAND",
    "churn": "securefl.tasks.churn:CHURN",
    "inventory": "securefl.tasks.inventory_declared:INVENTORY",
    "pricing": "securefl.tasks.pricing_declared:PRICING",
    "sequential": "securefl.tasks.sequential:SEQUENTIAL",
    "hybrid": "securefl.tasks.declared_features:HYBRID",
    "content": "securefl.tasks.declared_features:CONTENT",
    "transfer": "securefl.tasks.declared_features:TRANSFER",
}
TASKS: Final = tuple(_TASKS)


@cache
def declaration(task: str) -> TaskDeclaration:
    """What a task says of itself.

    Raises:
        KeyError: If there is no such task.
    """
    module, name = _TASKS[task].split(":")
    found: TaskDeclaration = getattr(import_module(module), name)
    register_labels(found.labels)
    return found


def check_model(config: RunConfig) -> None:
    """Refuse a model that cannot protect what it is asked to.

    Raises:
        ConfigError: If the model cannot be trained privately, or not for this unit.
    """
    # A configuration is checked against `declaration` below, before there is any mechanism.
    from securefl.privacy.mechanisms import mechanism_for

    model, privacy = config.model.name, config.privacy
    choice = declaration(config.task).choice(model)
    assert choice is not None  # the configuration was validated
    if not mechanism_for(privacy).private:
        return
    if not choice.units:
        raise ConfigError(f"privacy.dp: model '{model}' cannot be trained privately")
    if privacy.unit not in choice.units:
        raise ConfigError(
            f"privacy.unit: model '{model}' cannot hide a {privacy.unit}, for what it learns of"
            " one depends on others; it hides a"
            f" {' or a '.join(choice.units)} (--unit {next(iter(choice.units))})"
        )
    if privacy.dp not in choice.protections:
        raise ConfigError(
            f"privacy.dp: model '{model}' of task '{config.task}' is trained under"
            f" --dp {' or '.join(choice.protections)} alone"
        )


def create_task(config: RunConfig) -> AnyTask:
    """The task that a configuration names."""
    from securefl.privacy.mechanisms import mechanism_for

    choice = declaration(config.task).choice(config.model.name)
    assert choice is not None  # the configuration was validated
    return choice.create(config, by_example=mechanism_for(config.privacy).by_example)
