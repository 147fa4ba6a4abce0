"""How a task cuts its data: thresholds and held-out periods."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from securefl.config.base import Settings


class RecommendationSettings(Settings):
    """Cuts of the recommendation task."""

    min_households: PositiveInt = Field(
        20, description="A product belongs to the assortment if so many customers bought it."
    )
    min_products: PositiveInt = Field(
        20, description="A customer is trained on and evaluated from so many distinct products."
    )
    negatives: PositiveInt = Field(99, description="Sampled negatives a held-out purchase.")
    recency_days: PositiveFloat = Field(
        56.0, description="A purchase so many days before the end counts 1/e of one at the end."
    )
    recency_floor: NonNegativeFloat = Field(
        0.02, description="What every purchase counts on top, however old."
    )
    prior: NonNegativeFloat = Field(
        0.5,
        description="Strength of the retailer's own recent popularity in the scores; it is never "
        "released.",
    )


class NewProductSettings(RecommendationSettings):
    """Cuts of the tasks that rank new products as well."""

    cold: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.1,
        description="Share of products, by a hash, that count as new and are held out of training.",
    )


class TransferCuts(RecommendationSettings):
    """Cuts of the transfer task; `min_products` are of the target departments."""

    departments: tuple[str, ...] = Field(
        ("COSMETICS", "DRUG GM", "NUTRITION"),
        description="The target: departments whose products are ranked.",
    )
    customers: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.05,
        description="Share of customers, by a hash, whose past of the target may be learned from;"
        " the others are new to it.",
    )
    source_rounds: NonNegativeInt = Field(
        4, description="So many rounds train on the other departments first; 0 starts cold."
    )


class DemandSettings(Settings):
    """Cuts of the demand task."""

    level: Literal["department", "category", "product"] = Field(
        "category", description="What a series is, at each retailer."
    )
    step: Literal["week", "day"] = Field("week", description="Length of a step of time.")
    min_mean: NonNegativeFloat = Field(
        100.0,
        description="A series is evaluated if its mean over the training steps reaches so many "
        "units; each retailer decides on its own.",
    )
    min_training_mean: NonNegativeFloat = Field(
        20.0, description="A series is trained on if its mean reaches so many units."
    )
    test_steps: PositiveInt = Field(6, description="Held-out steps (weeks or days) at the end.")
    validation_steps: PositiveInt = Field(5, description="Steps before them, to choose a round.")
