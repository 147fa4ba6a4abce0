"""How a retailer's own tables are written, and what becomes of their doubtful lines."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from securefl.config.base import Settings

ENCODINGS = (
    "utf-8",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1257",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-7",
    "iso-8859-9",
    "iso-8859-15",
    "cp437",
    "cp850",
    "cp852",
    "mac-roman",
    "shift_jis",
    "gb18030",
)
"""Encodings that text files may have, by Python's names."""

TIMES = ("iso", "day-first", "month-first", "epoch-s", "epoch-ms", "epoch-us", "epoch-ns", "excel")
"""Ways to write a time that have a name; all others are said as a pattern of `strptime`."""


def _encoding(name: str) -> str:
    allowed = {codecs.lookup(known).name for known in ENCODINGS}
    try:
        found = codecs.lookup(name).name
    except LookupError:
        found = ""
    if found not in allowed:
        raise ValueError(f"unknown encoding; known: {', '.join(ENCODINGS)}")
    return found


def _time(text: str) -> str:
    if text not in TIMES and not re.fullmatch(r"(?:%[a-zA-Z]|[-/. :,T])+", text):
        raise ValueError(f"one of {', '.join(TIMES)}, or a pattern such as %d.%m.%Y %H:%M")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"no time zone '{name}'; one is called, for example, Europe/Berlin"
        ) from None
    return name


Encoding = Annotated[str, AfterValidator(_encoding)]
TimeFormat = Annotated[str, AfterValidator(_time)]
Zone = Annotated[str, AfterValidator(_zone)]
Character = Annotated[str, Field(pattern=r"^[^\r\n\x00]$")]


class FileFormat(Settings):
    """How tables are written; what is not set is found out for each file, and said."""

    encoding: Encoding | None = Field(
        default=None, description="Of text files; UTF-8 or what a byte-order mark says if not set."
    )
    separator: Character | None = Field(default=None, description="Between the cells of CSV.")
    quote: Literal['"', "'", ""] = Field(
        default='"', description="Around cells of CSV; empty where quotes mean nothing."
    )
    header: bool = Field(
        default=True, description="Whether the first line names columns; else they are 1, 2, 3."
    )
    skip: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Lines above the header that are no part of the table."
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="The decimal mark of numbers that are text."
    )
    time: TimeFormat | None = Field(
        default=None,
        description="How times are written: iso, day-first, month-first, epoch-s, epoch-ms,"
        " epoch-us, epoch-ns, excel, or a pattern such as %d.%m.%Y %H:%M.",
    )
    timezone: Zone | None = Field(
        default=None,
        description="Zone of the shops' clocks, for times that name a zone; an offset is cut off"
        " if not set, and UTC refused.",
    )
    sheet: str | None = Field(default=None, description="Sheet of an Excel file, if it has many.")


class Identity(Settings):
    """What makes two products, or two customers, the same one; equal for all members."""

    products: Literal["label", "gtin"] = Field(
        default="label",
        description="label: the same text in Unicode's NFC, without surrounding blanks and"
        " invisible characters. gtin: the same trade item number of GS1, whatever zeros stand in"
        " front; its check digit has to be right.",
    )
    customers: Literal["label", "keyed"] = Field(
        default="label",
        description="label: a number that follows from the label alone. keyed: one that follows"
        " from the label and the members' pepper, so that no outsider can try card numbers.",
    )
    pepper: Path | None = Field(
        default=None,
        description="File of the pepper, 64 hexadecimal digits, readable for its owner alone."
        " Members with the same one give equal cards equal numbers. It never stands here.",
    )

    @model_validator(mode="after")
    def _pepper_where_keyed(self) -> Self:
        if (self.customers == "keyed") != (self.pepper is not None):
            raise ValueError('customers = "keyed" and pepper = FILE go together')
        return self


class LineRules(Settings):
    """What becomes of lines that a table should not have; each rule says how many it met."""

    returns: Literal["refuse", "net", "drop"] = Field(
        default="refuse",
        description="Lines of negative quantity. net: taken off the customer's earlier purchases"
        " of the product, latest first, and what finds none is left out.",
    )
    anonymous: Literal["refuse", "keep", "drop"] = Field(
        default="refuse",
        description="Lines without a customer: empty, 0, -1, NULL, nan, n/a and the like."
        " keep: as sales of no known customer.",
    )
    known_customers: tuple[str, ...] = Field(
        default=(), description="Customers whose label looks like none, for example 0."
    )
    unknown_customers: tuple[str, ...] = Field(
        default=(), description="Further labels of no customer, such as the card of the till."
    )
    most_of_one: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=0.2,
        description="Largest share of lines, of 1000 and more, that one of ten and more customers"
        " may have.",
    )
    zero_quantity: Literal["refuse", "drop"] = Field(
        default="refuse", description="Lines of quantity 0."
    )
    negative_value: Literal["refuse", "drop"] = Field(
        default="refuse", description="Lines of negative value or price that are no returns."
    )
    broken: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="Lines with a cell that is missing or cannot be read, or of too few cells.",
    )
    outside: Literal["drop", "refuse"] = Field(
        default="drop", description="Lines whose day is outside data.period."
    )
    stray_days: Literal["refuse", "keep", "drop"] = Field(
        default="refuse",
        description="Without data.period: few lines more than a year from all others, or later"
        " than today.",
    )
    near_products: Literal["refuse", "match", "keep"] = Field(
        default="refuse",
        description="Product labels that the catalogue has in another spelling: case, blanks,"
        " accents, leading zeros. match: as that product. keep: as products it does not list.",
    )
    bad_gtin: Literal["refuse", "keep"] = Field(
        default="refuse",
        description="With identity.products = gtin: product labels that are no GTIN. keep: as"
        " products that the catalogue does not list.",
    )
    most_unmatched: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.5, description="Largest share of lines whose product the catalogue may not list."
    )
    duplicate_files: Literal["refuse", "drop"] = Field(
        default="refuse", description="Files with the same lines as another one of the member."
    )
    repeated_lines: Literal["keep", "drop"] = Field(
        default="keep",
        description="Lines that are equal to an earlier one in all columns: the same thing scanned"
        " twice, or exported twice.",
    )
    most_repeated: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.2,
        description="Largest share of lines, of 100 and more, that may be repeated and kept.",
    )
    short_coverage: Literal["refuse", "keep"] = Field(
        default="refuse",
        description="A member whose days end, or begin, a month or more inside the period.",
    )
    most_quantity: PositiveFloat = Field(
        default=1e6, description="Units of one line that are believed; above it is a broken cell."
    )
    most_value: PositiveFloat = Field(
        default=1e8, description="Value of one line that is believed; above it is a broken cell."
    )
