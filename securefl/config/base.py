"""The base of every settings model: immutable, and strict about unknown keys."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One section of a configuration; an unknown key is an error and not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NamedSettings(Settings):
    """A section that is one of several, told apart by its name."""

    name: str
