"""From a configuration to the task that it names, and the models that a task refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securefl.errors import ConfigError

if TYPE_CHECKING:  # a configuration is checked without waiting for torch
    from securefl.config.schema import RunConfig
    from securefl.tasks.base import AnyTask
from securefl.config.task_registry import declaration, resolve


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
    # With examples as privacy units the data are cut, or the loss is taken, example by example.
    private = mechanism_for(config.privacy).by_example and choice.private_task is not None
    maker = choice.private_task if private else choice.task
    assert maker is not None
    made: AnyTask = (resolve(maker) if isinstance(maker, str) else maker)(config)
    return made
