"""Creation of the task that a configuration names, and refusal of unprotected models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securefl.config.data import DataSettings, FilesSettings
from securefl.errors import ConfigError

if TYPE_CHECKING:  # a configuration is checked without importing torch
    from securefl.config.schema import RunConfig
    from securefl.tasks.base import AnyTask
from securefl.config.task_registry import declaration, resolve


def check_model(config: RunConfig) -> None:
    """Refuse a model that cannot give the configured protection, and facts that would break it.

    Raises:
        ConfigError: If the model cannot be trained privately, or not for this unit; under a budget
            also where the facts would be read off customers' tables.
    """
    # Imported here: the mechanisms import torch, which a valid configuration need not wait for.
    from securefl.privacy.mechanisms import mechanism_for

    model, privacy = config.model.name, config.privacy
    choice = declaration(config.task).choice(model)
    assert choice is not None  # the configuration was validated
    if not mechanism_for(privacy).private:
        return
    if isinstance(config.data, FilesSettings) and config.data.period is None:
        # A customer moves a calendar that is read off tables, and with it everyone's part.
        raise ConfigError(
            "data.period is missing: under a budget, what all members agree on comes from the"
            " catalogue and the agreed days, and from no table of customers"
        )
    if not choice.units:
        raise ConfigError(f"privacy.dp: model '{model}' cannot be trained privately")
    # Clipping bounds one unit's gradient only where no other unit enters that gradient.
    if privacy.unit not in choice.units:
        raise ConfigError(
            f"privacy.unit: model '{model}' cannot hide a {privacy.unit}, for what it learns of"
            " one depends on others; it hides a"
            f" {' or a '.join(choice.units)} (--unit {next(iter(choice.units))})"
        )
    if privacy.unit == "record":
        _check_records(config.data)
    if privacy.dp not in choice.protections:
        raise ConfigError(
            f"privacy.dp: model '{model}' of task '{config.task}' is trained under"
            f" --dp {' or '.join(choice.protections)} alone"
        )


def _check_records(data: DataSettings) -> None:
    """Refuse rules of own files by which one line changes others, where single lines are hidden.

    Raises:
        ConfigError: If there are any.
    """
    if not isinstance(data, FilesSettings):
        return
    rules = (data.rules, *(member.rules for member in data.members if member.rules is not None))
    if any(one.returns == "net" for one in rules):
        raise ConfigError(
            'data.rules.returns: "net" takes one return off many lines of its customer, so that a'
            ' single line cannot be hidden; set "drop", or hide customers (--unit customer)'
        )


def create_task(config: RunConfig) -> AnyTask:
    """Create the task that a configuration names."""
    from securefl.privacy.mechanisms import mechanism_for

    choice = declaration(config.task).choice(config.model.name)
    assert choice is not None  # the configuration was validated
    # Under example-level privacy no example's loss may depend on another one, which plain training
    # allows (popularity priors, weights that are normalised over customers).
    private = mechanism_for(config.privacy).by_example and choice.private_task is not None
    maker = choice.private_task if private else choice.task
    assert maker is not None
    made: AnyTask = (resolve(maker) if isinstance(maker, str) else maker)(config)
    return made
