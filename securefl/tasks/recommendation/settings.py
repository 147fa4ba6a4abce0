"""Settings of the models that only recommendation trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from securefl.config.base import NamedSettings, Settings
from securefl.config.task_registry import DEFAULT_TASK, declaration
from securefl.tasks.common.settings import Fraction, RankingSettings


class EaseSettings(RankingSettings):
    """Item-to-item scores in closed form, from a sum over customers that takes one round."""

    name: Literal["ease"] = "ease"
    level: Literal["product", "kind", "category"] = Field(
        "product", description="Level of the hierarchy on which co-purchases are counted."
    )
    items: PositiveInt = Field(
        2000,
        description="With level product: number of products, those bought by most customers.",
    )
    ridge: PositiveFloat = Field(
        1.0, description="Regularisation, in units of the mean count of an item."
    )
    own_ridge: PositiveFloat = Field(
        200.0,
        description="Regularisation, in customers, of the retailer's local item-to-item model of"
        " all products.",
    )

    @model_validator(mode="after")
    def _counts_products(self) -> Self:
        if self.level != "product" and self.first_changed(["items"]):
            raise ValueError(f"items: with level '{self.level}' all of them are counted")
        return self

    def discloses(self) -> tuple[str, ...]:
        """See `NamedSettings`: the matrix is an exact count of customers."""
        counted = {
            "product": f"the {self.items:,} products that most customers bought",
            "kind": "all kinds",
            "category": "all categories",
        }
        said = (
            "The shared item-to-item matrix tells every member, for any two of"
            f" {counted[self.level]}, how many customers of all retailers together bought both;"
            " without a budget these numbers are exact, and a 1 is one customer."
        )
        return (said,)


class PopularitySettings(RankingSettings):
    """What sold lately, summed over the retailers once."""

    name: Literal["popularity"] = "popularity"
    days: PositiveFloat = Field(
        28.0, description="Days after which the weight of a purchase has fallen to 1/e."
    )


class NeighbourSettings(RankingSettings):
    """A retailer's own item-to-item model of all products; no other party ever sees it."""

    name: Literal["neighbours"] = "neighbours"
    ridge: PositiveFloat = Field(200.0, description="Regularisation, in customers.")
    hierarchy: NonNegativeFloat = Field(
        20.0,
        description="Weight of the public hierarchy: each group of products is a row beside the"
        " customers', of this length whatever its size.",
    )
    rows: PositiveInt = Field(
        4000,
        description="Largest number of customers' rows, and of groups' rows: of more customers an"
        " even sample is read, of more groups the wider levels of the hierarchy.",
    )
    baskets: PositiveFloat = Field(
        16.0,
        description="Baskets after which the weight of a purchase in a history has fallen to 1/e.",
    )
    floor: NonNegativeFloat = Field(
        0.3, description="Weight added to every purchase of a history, however old."
    )


class RatingNcfSettings(NamedSettings):
    """The tutorial's rating classifier: all parameters are shared, as in the tutorial."""

    name: Literal["rating-ncf"] = "rating-ncf"
    dim: PositiveInt = 64
    hidden: PositiveInt = 128
    classes: PositiveInt = 5
    dropout: Fraction = 0.2


FAMILY: Final = ("recommendation", "sequential", "hybrid", "content")
"""The tasks whose models can be parts: they rank the same products for the same customers."""
PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Holder = Literal["shared", "own", "none"]
PARTS_ALONE: Final[Mapping[str, type[RankingSettings]]] = {
    "popularity": PopularitySettings,
    "neighbours": NeighbourSettings,
}
"""Models of recommendation that are parts and nothing by themselves."""


class PartSettings(Settings):
    """One part of a blend."""

    task: str = Field("recommendation", description="The task whose model it is.")
    holder: Holder = Field(
        "shared",
        description="Whether it is trained together, by each retailer alone, or left out.",
    )
    rounds: PositiveInt | None = Field(
        None, description="Rounds that it is trained in, from the first; none says all of them."
    )
    weights: tuple[NonNegativeFloat, ...] | None = Field(
        None,
        description="Public default of the weights of its score components, which each retailer's"
        " own are drawn to, except where it trains alone; with none at one part, none is.",
    )
    model: SerializeAsAny[NamedSettings]

    @field_validator("task")
    @classmethod
    def _of_the_family(cls, name: str) -> str:
        if name not in FAMILY:
            raise ValueError(f"'{name}' is none of {', '.join(FAMILY)}")
        return name

    @field_validator("model", mode="before")
    @classmethod
    def _as_declared(cls, section: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - as given
        if "task" not in info.data or isinstance(section, Settings):
            return section
        if not isinstance(section, dict):
            raise ValueError("a section that names a model")
        task, name = info.data["task"], str(section.get("name"))
        if task == DEFAULT_TASK and name in PARTS_ALONE:
            return PARTS_ALONE[name].model_validate(section)
        choice = declaration(task).choice(name)
        if choice is None or choice.part is None:
            raise ValueError(f"model '{name}' of task '{task}' is no part of a blend")
        return choice.settings.model_validate(section)

    @model_validator(mode="after")
    def _can_be_a_part(self) -> Self:
        if self.never_shared and self.holder == "shared":
            raise ValueError(f"model '{self.model.name}' is never shared: say holder = 'own'")
        if self.rounds is not None and (self.never_shared or self.is_sum):
            raise ValueError(f"rounds: model '{self.model.name}' is computed and takes no rounds")
        choice = declaration(self.task).choice(self.model.name)
        idle = choice and self.model.first_changed(choice.unused_in_part)
        if idle:
            raise ValueError(
                f"model.{idle}: no part of a blend reads it of model '{self.model.name}'"
            )
        if (why := self.model.misfit(budget=False)) is not None:
            raise ValueError(f"model.{why}")
        return self

    @property
    def never_shared(self) -> bool:
        """Whether its model has no parameter that could be summed."""
        return isinstance(self.model, NeighbourSettings)

    @property
    def is_sum(self) -> bool:
        """Whether its model is a sum over purchases, and no result of descent."""
        return isinstance(self.model, PopularitySettings | EaseSettings)


class BlendSettings(RankingSettings):
    """Several models, weighted by each retailer on its own validation purchases."""

    name: Literal["blend"] = "blend"
    parts: dict[PartName, PartSettings] = Field(
        description="The parts by name, each with the settings of its model."
    )
    default_cases: NonNegativeFloat = Field(
        2000.0, description="Held-out purchases that the default weights of the parts count for."
    )

    @model_validator(mode="after")
    def _has_parts(self) -> Self:
        held = self.held.values()
        if not any(part.holder == "shared" for part in held):
            raise ValueError("a blend needs a shared part")
        if sum(part.never_shared for part in held) > 1:
            raise ValueError("a blend has one part 'neighbours' at most")
        bare = [name for name, part in self.held.items() if part.weights is None]
        if bare and self.first_changed(["default_cases"]):
            raise ValueError(
                f"default_cases: part '{bare[0]}' declares no weights, so that none are drawn to"
                " a default"
            )
        return self

    @property
    def held(self) -> dict[str, PartSettings]:
        """The parts that are not left out, by name."""
        return {name: part for name, part in self.parts.items() if part.holder != "none"}

    def discloses(self) -> tuple[str, ...]:
        """See `NamedSettings`: of the parts that are shared."""
        shared = [part.model for part in self.held.values() if part.holder == "shared"]
        return tuple(dict.fromkeys(said for model in shared for said in model.discloses()))
