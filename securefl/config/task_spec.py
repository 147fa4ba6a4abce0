"""What a task says of itself: its models, settings, defaults, metrics, and what it can protect.

Nothing here needs torch, so that a configuration can be checked without waiting for it. A task may
declare itself beside its code (then its file is all of it), or in a file without torch that names
its classes by `module:Class`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from securefl.config.base import NamedSettings, Settings
from securefl.config.metric_labels import MetricLabel
from securefl.config.privacy import Unit, protecting
from securefl.config.score_bounds import ScoreTable

Tree = dict[str, Any]
TaskMaker = Callable[[Any], Any]
"""From a `RunConfig` to a `Task`: this room knows neither."""


class NoSplitSettings(Settings):
    """A task that splits its data in one way alone."""


@dataclass(frozen=True)
class ModelSpec:
    """One model that a task can train.

    Attributes:
        settings: Its section of a configuration.
        task: The task's class, or `module:Class` where torch should wait.
        served: The class, or `module:Class`, of what a member serves after a run: how its model is
            packed, opened and asked (`tasks/common/serving.py`).
        private_task: Where a budget needs another cut of the data or another loss.
        units: Unit of privacy to what its presence comes to, in words; empty where the model cannot
            be trained privately.
        trained_under: Values of `privacy.dp` that it can be trained under; None for any.
        changes: Protection to what the model changes in the defaults; those of `none` hold under
            the others too.
        scores: Unit of privacy to the scores that it moves by no more than a bound; under a budget
            no other score leaves a retailer.
        part: The class, as `module:Class`, that trains it as a part of a blend; None where it is
            never one.
        unused_in_part: Its settings that nothing reads there.
        under_budget: Its settings that nothing reads without a budget.
    """

    settings: type[NamedSettings]
    task: str | TaskMaker
    served: str | type = field(kw_only=True)
    private_task: str | TaskMaker | None = None
    units: Mapping[Unit, str] = field(default_factory=dict)
    trained_under: tuple[str, ...] | None = None
    changes: Mapping[str, Tree] = field(default_factory=dict)
    scores: Mapping[Unit, ScoreTable] = field(default_factory=dict)
    part: str | None = None
    unused_in_part: tuple[str, ...] = ()
    under_budget: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in a configuration."""
        return str(self.settings.model_fields["name"].default)

    def misfit(self, settings: NamedSettings, *, budget: bool) -> str | None:
        """Return what is wrong with the settings of a run's model; None if nothing is."""
        idle = None if budget else settings.first_changed(self.under_budget)
        if idle is not None:
            return f"{idle}: model '{self.name}' reads it under a budget alone"
        return settings.misfit(budget=budget)

    @property
    def protections(self) -> tuple[str, ...]:
        """Values of `privacy.dp`, beside none, that it can be trained under."""
        return protecting() if self.trained_under is None else self.trained_under


@dataclass(frozen=True)
class Disclosure:
    """What a task tells competitors, for the dossier; the one place where this is stated.

    Attributes:
        model: What the parameters of a released model can say about the retailers behind it.
        delicate: Whether competitors learn of each other's future sales or prices: competition law
            then asks most.
        competition: What to look at under competition law.
    """

    model: str
    delicate: bool
    competition: str


@dataclass(frozen=True)
class TaskSpec:
    """A task, as the rest of the project knows it.

    Attributes:
        name: What it is called on the command line; also the name of its section.
        description: What it learns, in a few words.
        models: What it can train, the default first.
        defaults: Source to a complete configuration; `files` has the one of `complete-journey`.
        changes: Source and protection to what they change in the defaults.
        split_settings: The section named after the task: how its data are split.
        labels: How its metrics are shown, where no other task has them.
        facts: `module:Class` of everything that the facts of its members are made of; each has a
            `format_name` of its own.
        releases: What noise is added to: the gradients of each step, or series that are released
            once a round and trained on.
        outputs: Name of each table that a retailer finds in its own folder, to what it holds;
            see `Task.local_outputs`.
        disclosure: What it tells competitors; None where its author did not say.
    """

    name: str
    description: str
    models: tuple[ModelSpec, ...]
    defaults: Mapping[str, Tree]
    changes: Mapping[tuple[str, str], Tree] = field(default_factory=dict)
    split_settings: type[Settings] = NoSplitSettings
    labels: Mapping[str, MetricLabel] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    releases: Literal["gradients", "series"] = "gradients"
    outputs: Mapping[str, str] = field(default_factory=dict)
    disclosure: Disclosure | None = None

    def choice(self, model: str) -> ModelSpec | None:
        """Return the model of that name; None if the task has none."""
        return next((choice for choice in self.models if choice.name == model), None)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of its models, the default first."""
        return tuple(choice.name for choice in self.models)

    @cached_property
    def model_adapter(self) -> TypeAdapter[NamedSettings]:
        """Parses the section `model`, which its `name` tells apart."""
        union: Any = reduce(or_, (choice.settings for choice in self.models))
        if len(self.models) > 1:
            union = Annotated[union, Field(discriminator="name")]
        return TypeAdapter(union)

    def protects(self, model: str, unit: Unit) -> str:
        """What the presence of a unit comes to: whatever is said of a unit is said of this."""
        choice = self.choice(model)
        if choice is None or unit not in choice.units:
            raise KeyError(f"{self.name}, {model}, {unit}")
        return choice.units[unit]
