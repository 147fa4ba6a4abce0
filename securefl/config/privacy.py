"""How single customers are protected, and with what budget."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from securefl.config.base import Settings

NONE: Final = "none"
PROTECTED: Final = ("local", "distributed")
"""The protections that every installation has; a mechanism of one's own adds its name."""
_registered: list[str] = [NONE, *PROTECTED]


def protections() -> tuple[str, ...]:
    """Return what `privacy.dp` may say, `none` first."""
    return tuple(_registered)


def protecting() -> tuple[str, ...]:
    """Return the same without `none`."""
    return tuple(name for name in _registered if protects(name))


def register_protection(name: str) -> None:
    """Allow a value of `privacy.dp`; `privacy.mechanisms.register` calls it for a mechanism."""
    if name not in _registered:
        _registered.append(name)


def protects(dp: str) -> bool:
    """Return whether a value of `privacy.dp`, also one from a record, claims any privacy."""
    return dp != NONE


def _known_protection(name: str) -> str:
    """Refuse an unknown value, in the words that pydantic has for a literal."""
    known = [f"'{one}'" for one in protections()]
    if name not in protections():
        raise ValueError(f"Input should be {', '.join(known[:-1])} or {known[-1]}")
    return name


CLIP_NORMS: Final = (1e-12, 1e15)
SAMPLING_RATES: Final = (1e-12, 1.0)
"""Least and largest values, far beyond those of any run; records beyond them are refused."""

Protection = Annotated[str, AfterValidator(_known_protection)]
Unit = Literal["customer", "record", "member"]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


class DistributedSettings(Settings):
    """Noise shares whose sum hides a unit; privacy-distributed.md explains each."""

    colluding: NonNegativeInt = Field(
        1,
        description="So many members may pool their noise shares with the coordinator, or use them"
        " themselves: with 0, a unit is hidden from all but the other members.",
    )
    law: Literal["discrete-gaussian", "skellam"] = Field(
        "discrete-gaussian",
        description="Law of the noise shares; docs/explanation/privacy-distributed.md.",
    )
    excess: Literal["keep", "remove"] = Field(
        "keep",
        description="With remove, the noise that was added in case members drop out is taken back"
        " where they did not.",
    )
    rounding: Annotated[float, Field(gt=0.0, le=0.1)] = Field(
        2e-3, description="How much rounding to integers adds to the clip norm, at most."
    )


class PrivacySettings(Settings):
    """Differential privacy of what each retailer releases; privacy.md explains each."""

    dp: Protection = Field(
        "none",
        description="With local, every retailer clips and noises what it releases; with"
        " distributed, each adds a share of the noise, and only the masked sum is private.",
    )
    epsilon: PositiveFloat | None = Field(
        None, description="The whole run's budget for each unit; local needs one."
    )
    delta: Probability = Field(
        1e-5, description="Has to be smaller than 1 over a retailer's number of units."
    )
    unit: Unit = Field(
        "customer",
        description="Whose presence is hidden; a member is a retailer with all that it sends, for"
        " consortia of dozens and dp distributed.",
    )
    records_per_customer: PositiveInt = Field(
        64,
        description="With unit record: so many records of one customer count at most, so that a"
        " customer has a bound as well.",
    )
    interactions: PositiveInt = Field(
        256,
        description="So many of a customer's purchases or ratings enter a step at most, drawn anew"
        " by the retailer in each.",
    )
    scores: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        0.05,
        description="Part of epsilon that is kept for the closing scores, which leave with noise"
        " alone; with 0, no score leaves a retailer.",
    )
    accountant: Literal["pld", "prv", "rdp"] = Field(
        "pld",
        description="What computes epsilon: pld is exact without sampling and tight with it; rdp is"
        " the bound that needs the least arithmetic. Skellam noise has rdp alone.",
    )
    clip_norm: Annotated[float, Field(ge=CLIP_NORMS[0], le=CLIP_NORMS[1])] = Field(
        1.0,
        description="Largest norm of a unit's gradient; for demand, of the units it adds to the"
        " series; with unit member, of a retailer's update.",
    )
    sampling_rate: Annotated[float, Field(ge=SAMPLING_RATES[0], le=SAMPLING_RATES[1])] = Field(
        0.5, description="Probability of a unit to be in a step; agreed, not computed from data."
    )
    expected_batch: PositiveFloat = Field(
        256.0, description="What a step's sum is divided by; agreed, not counted."
    )
    line_units: PositiveFloat = Field(
        4.0,
        description="For demand with unit record, in the place of clip_norm: so many units count of"
        " a purchase line.",
    )
    least_signal: NonNegativeFloat = Field(
        1.0,
        description="For demand: a series is trained on if its noised mean is so many deviations of"
        " the noise.",
    )
    steps: PositiveInt = Field(2, description="Private steps of a retailer in a round.")
    optimizer: Literal["adam", "sgd"] = "sgd"
    learning_rate: PositiveFloat = 1.0
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    weight_decay: NonNegativeFloat = 0.0
    gradients: Literal["auto", "hooks", "bookkeeping", "vectorised"] = Field(
        "auto",
        description="The way to each unit's gradient; all give the same numbers. Auto takes"
        " bookkeeping where it knows every layer, and vectorised elsewhere.",
    )
    distributed: DistributedSettings = DistributedSettings()
    insecure_testing_seed: NonNegativeInt | None = Field(
        None,
        description="FOR TESTS ONLY: noise that can be repeated, and therefore protects nobody.",
    )

    @property
    def needs_masks(self) -> bool:
        """Whether what a member sends hides nobody unless it is masked."""
        return self.dp == "distributed"

    @field_validator("gradients", mode="before")
    @classmethod
    def _no_ghost(cls, value: object) -> object:
        if value == "ghost":
            raise ValueError(
                "'ghost' was removed; use 'auto' or 'bookkeeping', which give the same numbers"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _no_lazy_noise(cls, values: object) -> object:
        if isinstance(values, Mapping) and "lazy_rows" in values:
            raise ValueError(
                "'lazy_rows' was removed: noise that is added later, to rounded parameters, is not"
                " the exact noise that is accounted for"
            )
        return values

    @model_validator(mode="after")
    def _budget_where_it_counts(self) -> Self:
        if protects(self.dp) and self.epsilon is None:
            raise ValueError(f"dp = '{self.dp}' needs a budget; state epsilon (--epsilon 4)")
        if not protects(self.dp) and self.epsilon is not None:
            raise ValueError("a budget without dp = 'local' (--dp local) protects nobody")
        return self

    @model_validator(mode="after")
    def _one_step_a_sum(self) -> Self:
        if self.dp != "distributed":
            return self
        if self.steps != 1:
            raise ValueError("steps: with dp = 'distributed' a round is one step")
        return self

    @model_validator(mode="after")
    def _skellam_where_it_has_a_price(self) -> Self:
        if self.dp != "distributed" or self.distributed.law != "skellam":
            return self
        if self.accountant != "rdp":
            raise ValueError("accountant: Skellam noise is accounted by rdp")
        if self.unit == "record":
            raise ValueError("unit: of Skellam noise no price is known for a customer's records")
        return self

    @model_validator(mode="after")
    def _members_in_every_sum(self) -> Self:
        if self.unit != "member":
            return self
        if self.dp != "distributed":
            raise ValueError("unit: only a sum hides a member; it needs dp = 'distributed'")
        if self.sampling_rate != 1:
            raise ValueError("sampling_rate: with unit 'member' every update is in the sum")
        return self


def implied(privacy: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from a section `privacy` that says which mechanism, where it says no other.

    A masked sum is one step, and a member is in every sum; Skellam noise has one accountant.
    """
    made: dict[str, Any] = {"steps": 1} if privacy.get("dp") == "distributed" else {}
    shares = privacy.get("distributed")
    if isinstance(shares, Mapping) and shares.get("law") == "skellam":
        made |= {"accountant": "rdp"}
    return made | ({"sampling_rate": 1.0} if privacy.get("unit") == "member" else {})
