"""Which model a run trains, and its sizes."""

from typing import Annotated, ClassVar, Final, Literal, Self, get_args

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from securefl.config.base import NamedSettings, Settings

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
RankingLoss = Literal["softmax", "sampled-softmax", "bpr"]

MEDIAN: Final = 0.5


class FactorizationSettings(NamedSettings):
    """Matrix factorisation for purchases: customer vectors stay at the retailer."""

    name: Literal["mf"] = "mf"
    dim: PositiveInt = 64
    history_dropout: Fraction = Field(
        0.5, description="Share of a customer's purchases hidden from the model in each step."
    )
    loss: RankingLoss = Field("softmax", description="What purchases are trained to stand above.")
    negatives: PositiveInt = Field(
        256, description="Products drawn for a customer in each step, but with loss softmax."
    )


class HierarchicalSettings(NamedSettings):
    """Matrix factorisation with a layer of the retailer's own between products and customers."""

    name: Literal["hierarchical"] = "hierarchical"
    dim: PositiveInt = 64
    history_dropout: Fraction = 0.5
    loss: RankingLoss = "softmax"
    negatives: PositiveInt = 256
    rank: PositiveInt = Field(
        4, description="Rank of a retailer's own change of its customers' vectors."
    )


class NcfSettings(NamedSettings):
    """Neural collaborative filtering for purchases: customer vectors stay at the retailer."""

    name: Literal["ncf"] = "ncf"
    dim: PositiveInt = 64
    hidden: PositiveInt = 32
    dropout: Fraction = 0.2
    history_dropout: Fraction = 0.5
    positives: PositiveInt = Field(
        64, description="Purchases drawn for a customer in each step, by weight."
    )
    negatives: PositiveInt = Field(
        256, description="Products drawn for a customer in each step, that they compete with."
    )


class OwnPartSettings(Settings):
    """What a retailer trains for itself beside the shared model, without noise: never released."""

    factorization: FactorizationSettings = FactorizationSettings()
    factorization_rate: PositiveFloat = Field(0.002, description="Its learning rate, with Adam.")
    twin_rate: PositiveFloat = Field(
        0.01, description="Learning rate, with Adam, of the retailer's own model of this kind."
    )
    batch_size: PositiveInt = 64
    epochs_a_round: PositiveInt = 2
    rounds: PositiveInt = Field(
        10, description="At most; each model stops after two rounds without a better one."
    )


class ProfileSettings(NamedSettings):
    """Purchases from the kinds of things a customer bought: small enough to train privately."""

    name: Literal["profile"] = "profile"
    rank: PositiveInt = Field(16, description="Rank of the map between categories.")
    repeat: NonNegativeFloat = Field(
        2.0, description="How much earlier purchases of the same kind count before training."
    )
    popularity_step: PositiveFloat = Field(
        5.0, description="Scale of a product's popularity, and root of how much faster it learns."
    )
    shown: Fraction = Field(
        0.5,
        description="Share of her purchases that a customer is known by in a step; the model"
        " has to foresee the others.",
    )
    own: OwnPartSettings = OwnPartSettings()


Feature = Literal["department", "category", "kind", "brand", "size", "price", "product"]
Mapped = Annotated[
    tuple[Feature, ...],
    Field(min_length=1, description="Features between which tastes carry over."),
]

_OF_CONTENT: Final[tuple[Feature, ...]] = ("category", "kind", "brand", "size", "price")
_WITH_PRODUCTS: Final[tuple[Feature, ...]] = (*_OF_CONTENT, "product")


class RankerSettings(Settings):
    """Purchases from what products are, counted on every feature of the catalogue."""

    rank: PositiveInt = Field(64, description="Rank of the map between features.")
    mapped: Mapped
    repeat: NonNegativeFloat = Field(
        1.0, description="How much earlier purchases alike count before training."
    )
    popularity_step: PositiveFloat = Field(
        5.0, description="Scale of what is popular, and root of how much faster it learns."
    )
    popularity_taper: NonNegativeFloat = Field(
        0.0,
        description="A feature's scale is smaller by its codes over all products, to this power:"
        " one code of few is many products', and moves them all.",
    )
    shown: Fraction = Field(
        0.5, description="Share of her purchases that a customer is known by in a step."
    )
    id_dropout: Fraction = Field(
        0.0, description="Share of products that are known by their features alone in a step."
    )


class ContentOwnSettings(RankerSettings):
    """What a retailer trains for itself beside the shared model, without noise: never released."""

    mapped: Mapped = _OF_CONTENT
    learning_rate: PositiveFloat = 0.003
    batch_size: PositiveInt = 64
    epochs_a_round: PositiveInt = 2
    rounds: PositiveInt = Field(8, description="At most; it stops after two without a better one.")
    ridge: PositiveFloat = Field(
        200.0, description="Regularisation, in customers, of its own item-to-item model."
    )


class HybridOwnSettings(ContentOwnSettings):
    """The same where products are known by themselves."""

    mapped: Mapped = _WITH_PRODUCTS
    id_dropout: Fraction = 0.2


class TransferOwnSettings(RankerSettings):
    """The ranker of new departments that a retailer trains for itself: never released."""

    rank: PositiveInt = 32
    mapped: Mapped = _WITH_PRODUCTS


class FeatureSettings(NamedSettings, RankerSettings):
    """A shared ranker, and what a retailer keeps beside it."""

    knows_products: ClassVar[bool]
    own: RankerSettings

    @property
    def groups(self) -> tuple[Feature, ...]:
        """What products are told apart by."""
        features: tuple[Feature, ...] = get_args(Feature)
        return features if self.knows_products else features[:-1]

    @model_validator(mode="after")
    def _knows_what_it_maps(self) -> Self:
        if "product" in (*self.mapped, *self.own.mapped) and not self.knows_products:
            raise ValueError("this model does not know products by themselves")
        return self


class ContentSettings(FeatureSettings):
    """Products by their features alone."""

    knows_products: ClassVar[bool] = False
    name: Literal["content"] = "content"
    mapped: Mapped = _OF_CONTENT
    own: ContentOwnSettings = ContentOwnSettings()


class HybridSettings(FeatureSettings):
    """Products by their features and, once they were sold, by themselves."""

    knows_products: ClassVar[bool] = True
    name: Literal["hybrid"] = "hybrid"
    mapped: Mapped = _WITH_PRODUCTS
    id_dropout: Fraction = 0.2
    own: HybridOwnSettings = HybridOwnSettings()


class TransferSettings(FeatureSettings):
    """As the hybrid, learned on some departments and then on others."""

    knows_products: ClassVar[bool] = True
    name: Literal["transfer"] = "transfer"
    rank: PositiveInt = Field(32, description="Rank of the map between features.")
    mapped: Mapped = _WITH_PRODUCTS
    own: TransferOwnSettings = TransferOwnSettings()


class EaseSettings(NamedSettings):
    """Item-to-item scores in closed form, from a sum over customers that takes one round."""

    name: Literal["ease"] = "ease"
    level: Literal["product", "kind", "category"] = Field(
        "product", description="What is counted as bought together."
    )
    items: PositiveInt = Field(
        2000,
        description="With level product: so many products count, those that most customers bought.",
    )
    ridge: PositiveFloat = Field(
        1.0, description="Regularisation, in units of the mean count of an item."
    )
    own_ridge: PositiveFloat = Field(
        200.0,
        description="Regularisation, in customers, of what a retailer keeps: the same of its own"
        " customers and of all products.",
    )


class SequenceOwnSettings(OwnPartSettings):
    """The same with a model of sequences, whose settings mean what they mean in section `model`."""

    dim: PositiveInt = 64
    hidden: PositiveInt = 64
    loss: RankingLoss = "sampled-softmax"
    purchases: PositiveInt = 128
    positions: PositiveInt = 8
    horizon: PositiveInt = 1
    history_dropout: Fraction = 0.5
    recall: NonNegativeFloat = 1.0
    popularity_step: PositiveFloat = 1.0


class SequenceSettings(NamedSettings):
    """What the models of purchases in order have in common."""

    dim: PositiveInt = 64
    hidden: PositiveInt = 64
    length: Annotated[int, Field(ge=2)] = Field(
        16, description="So many of the newest baskets are read in order; older ones count as one."
    )
    vectors: Literal["learned", "fixed"] = Field(
        "learned",
        description="Whether products have learned vectors, or fixed codes of the public hierarchy,"
        " between which little has to be learned.",
    )
    loss: RankingLoss = Field(
        "sampled-softmax", description="What purchases are trained to stand above."
    )
    negatives: PositiveInt = Field(
        512, description="Products drawn for a customer in each step, but with loss softmax."
    )
    purchases: PositiveInt = Field(
        128, description="So many purchases of a customer enter a step at most, drawn anew in each."
    )
    positions: PositiveInt = Field(
        8, description="Baskets of a customer that are foreseen in each step, drawn by weight."
    )
    horizon: PositiveInt = Field(
        1, description="So many baskets are foreseen at once: 1 is the next one alone."
    )
    history_dropout: Fraction = 0.5
    recall: NonNegativeFloat = Field(
        1.0, description="How much likeness to what she bought counts before training."
    )
    popularity_step: PositiveFloat = Field(
        1.0, description="Scale of a product's popularity, and root of how much faster it learns."
    )
    own: SequenceOwnSettings = SequenceOwnSettings()


class GruSettings(SequenceSettings):
    """Purchases in order, read by a gated recurrent unit."""

    name: Literal["gru"] = "gru"


class AttentionSettings(SequenceSettings):
    """Purchases in order, read by self-attention."""

    name: Literal["attention"] = "attention"
    heads: PositiveInt = 2

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads or self.own.dim % self.heads:
            raise ValueError(f"dim and own.dim have to be multiples of heads = {self.heads}")
        return self


class RatingNcfSettings(NamedSettings):
    """The tutorial's rating classifier: everything is shared, as there."""

    name: Literal["rating-ncf"] = "rating-ncf"
    dim: PositiveInt = 64
    hidden: PositiveInt = 128
    classes: PositiveInt = 5
    dropout: Fraction = 0.2


class NetworkSettings(NamedSettings):
    """Sizes of the network that corrects the recent mean of a series."""

    dim: PositiveInt = 4
    hidden: PositiveInt = 64
    layers: PositiveInt = 1
    dropout: Fraction = 0.3


class ForecasterSettings(NetworkSettings):
    """Demand from lags, moving averages, promotions and embeddings, on a log target."""

    name: Literal["forecaster"] = "forecaster"
    huber_delta: PositiveFloat = 0.3


class QuantileForecasterSettings(NetworkSettings):
    """The same inputs, and how much sells at most with each of a few probabilities."""

    name: Literal["quantile-forecaster"] = "quantile-forecaster"
    levels: tuple[Probability, ...] = Field(
        (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975),
        description="Probabilities, ascending and with 0.5; each has a forecast of its own.",
    )

    @field_validator("levels")
    @classmethod
    def _ascending(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)) or MEDIAN not in levels:
            raise ValueError("have to ascend and to hold 0.5")
        return levels


class TutorialForecasterSettings(NamedSettings):
    """The tutorial's forecaster: calendar features alone, raw target, final ReLU."""

    name: Literal["tutorial-forecaster"] = "tutorial-forecaster"
    hidden: PositiveInt = 64
    layers: PositiveInt = 3
    dropout: Fraction = 0.1
