"""The retailers' own CSV or Parquet files, with columns named as the retailers name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from securefl.config.data import CatalogueColumns, FilesSettings, MemberFiles, TransactionColumns
from securefl.data.coercion import (
    to_classes,
    to_flags,
    to_ids,
    to_numbers,
    to_products,
    to_text,
    to_times,
)
from securefl.data.readers import column_names, read_columns, table_files
from securefl.data.schema import (
    LEVELS,
    PLAIN_EVENT,
    PRICES,
    TRANSACTIONS,
    UNKNOWN_PRODUCT,
    Origin,
    check_distinct,
    check_table,
)
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError, InputError

SOURCE: Final = "files"

_PROMOTIONS: Final = ("member", "product", "week", "display", "mailer")
_PRICES: Final = ("member", "product", "week", "price")


def load(settings: FilesSettings) -> RetailData:
    """Read the catalogue, then every member's files.

    Products are numbered as the catalogue lists them; its column `label` keeps their own names, and
    its last row, product -1, stands for all products that it does not list. Customers of equal
    identifiers at two members have equal numbers.

    Raises:
        InputError: A file is missing, or is neither CSV nor Parquet.
        DataError: A file is damaged, or breaks the schema; the text names file, row and column.
    """
    agreed = read_agreed(settings)
    known = _numbers(agreed.products)
    members = tuple(_Member(member, settings, known).tables() for member in settings.members)
    return RetailData(SOURCE, members, agreed.products, agreed.promotions, agreed.prices)


@dataclass(frozen=True)
class AgreedTables:
    """What belongs to no single member; see `RetailData`."""

    products: pd.DataFrame
    promotions: pd.DataFrame | None
    prices: pd.DataFrame | None


def read_agreed(settings: FilesSettings) -> AgreedTables:
    """Return the catalogue, and promotions and shelf prices if there are any.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`.
    """
    products = read_catalogue(settings.root / settings.catalogue, settings.catalogue_columns)
    known, names = _numbers(products), [member.name for member in settings.members]
    promotions, prices = (
        None if path is None else read(settings.root / path, known, names)
        for path, read in ((settings.promotions, read_promotions), (settings.prices, read_prices))
    )
    return AgreedTables(products, promotions, prices)


def _numbers(products: pd.DataFrame) -> dict[str, int]:
    """Return number of each product label of the catalogue."""
    return {label: number for number, label in enumerate(products["label"].iloc[:-1])}


def read_catalogue(path: Path, columns: CatalogueColumns) -> pd.DataFrame:
    """The agreed products in the order of the file, and the out-of-vocabulary row after them.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`; also where a product occurs twice.
    """
    files = table_files(path)
    if len(files) != 1:
        raise InputError(f"{path}: the catalogue is one file")
    names = _given(columns.model_dump())
    raw, origin = _renamed(files[0], names)
    if raw.empty:
        raise DataError(f"{path}: no products")
    labels = to_text(raw["product"], "product", origin)
    check_distinct(pd.DataFrame({"product": labels}), "product", origin)
    frame = pd.DataFrame({"product": np.arange(len(raw), dtype=np.int64)})
    for level in LEVELS:
        text = raw[level].astype("str").fillna("") if level in names else ""
        frame[level] = pd.Series(text, index=frame.index, dtype="str")
    frame["label"] = labels
    unknown = {"product": UNKNOWN_PRODUCT, **dict.fromkeys([*LEVELS, "label"], "")}
    return pd.concat([frame, pd.DataFrame([unknown])], ignore_index=True)


@dataclass(frozen=True)
class _Member:
    """One member's part of the settings."""

    files: MemberFiles
    settings: FilesSettings
    known: Mapping[str, int]

    def tables(self) -> RetailerTables:
        path = self.settings.root / self.files.transactions
        columns = self.files.columns or self.settings.columns
        parts = [read_transactions(file, columns, self.known) for file in table_files(path)]
        sales = self._in_period(pd.concat(parts, ignore_index=True))
        if sales.empty:
            raise DataError(f"{path}: no transactions of '{self.files.name}'")
        if columns.basket is None:
            sales["basket"] = _visits(sales)
        return RetailerTables(
            name=self.files.name,
            transactions=sales.sort_values(["time", "basket", "product"], ignore_index=True),
            profiles=self._profiles(),
            browsing=self._browsing(),
        )

    def _in_period(self, events: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the agreed period; all of them where none was agreed."""
        if self.settings.period is None:
            return events
        first, last = (pd.Timestamp(day) for day in self.settings.period)
        return events[(events["time"] >= first) & (events["time"] < last + pd.Timedelta(days=1))]

    def _profiles(self) -> pd.DataFrame | None:
        if self.files.profiles is None:
            return None
        parts = [
            read_profiles(file) for file in table_files(self.settings.root / self.files.profiles)
        ]
        return pd.concat(parts, ignore_index=True)

    def _browsing(self) -> pd.DataFrame | None:
        if self.files.browsing is None:
            return None
        parts = [
            read_browsing(file, self.known)
            for file in table_files(self.settings.root / self.files.browsing)
        ]
        events = pd.concat(parts, ignore_index=True)
        if "event" in events:
            events["event"] = events["event"].fillna(PLAIN_EVENT)
        return self._in_period(events)


def read_transactions(
    file: Path, columns: TransactionColumns, known: Mapping[str, int]
) -> pd.DataFrame:
    """Return one file of purchases as the schema has them; `basket` is 0 where the file has none.

    Args:
        file: CSV or Parquet.
        columns: What the file calls the schema's columns.
        known: Number of each product label of the catalogue.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`.
    """
    names = _given(columns.model_dump())
    priced = names.pop("price", None)
    names["value"] = priced or columns.value or "value"
    raw, origin = _renamed(file, names)
    frame = pd.DataFrame(
        {
            "customer": to_ids(raw["customer"], "customer", origin),
            "product": to_products(raw["product"], "product", origin, known),
            "basket": to_ids(raw["basket"], "basket", origin) if "basket" in names else 0,
            "time": to_times(raw["time"], "time", origin),
            "quantity": to_numbers(raw["quantity"], "quantity", origin),
            "value": to_numbers(raw["value"], "value", origin),
            "discount": to_numbers(raw["discount"], "discount", origin)
            if "discount" in names
            else 0.0,
        },
        index=raw.index,
    )
    if "rating" in names:
        frame["rating"] = to_classes(raw["rating"], "rating", origin)
    check_table(frame, TRANSACTIONS, origin)
    return frame.assign(value=frame["value"] * frame["quantity"]) if priced else frame


def _visits(sales: pd.DataFrame) -> pd.Series:
    """Return int64 [rows]: one number a customer and day."""
    day = sales["time"].dt.normalize()
    return sales.groupby(["customer", day], sort=True).ngroup().astype("int64")


def read_profiles(file: Path) -> pd.DataFrame:
    """Return one file of customers with all their attributes, as they are.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`.
    """
    present = column_names(file)
    if "customer" not in present:
        raise Origin(str(file)).missing("customer", present)
    raw = read_columns(file, present)
    frame = raw.assign(customer=to_ids(raw["customer"], "customer", Origin(str(file))))
    check_distinct(frame, "customer", Origin(str(file)))
    return frame


def read_browsing(file: Path, known: Mapping[str, int]) -> pd.DataFrame:
    """Return one file of events: products looked at, and whatever else its column `event` names.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`.
    """
    told = [name for name in column_names(file) if name == "event"]
    raw = read_columns(file, ("customer", "product", "time", *told))
    origin = Origin(str(file))
    frame = pd.DataFrame(
        {
            "customer": to_ids(raw["customer"], "customer", origin),
            "product": to_products(raw["product"], "product", origin, known),
            "time": to_times(raw["time"], "time", origin),
        }
    )
    return frame.assign(event=to_text(raw["event"], "event", origin)) if told else frame


def read_promotions(path: Path, known: Mapping[str, int], members: list[str]) -> pd.DataFrame:
    """Return the promotions of all members, one row a member, product and week.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`; also where a row names no member.
    """
    parts = [_promotions(file, known, members) for file in table_files(path)]
    keys = ["member", "product", "week"]
    return pd.concat(parts).groupby(keys, as_index=False)[["display", "mailer"]].any()


def read_prices(path: Path, known: Mapping[str, int], members: list[str]) -> pd.DataFrame:
    """Return the shelf prices of all members, one row a member, product and week.

    Raises:
        InputError: As in `load`.
        DataError: As in `load`; also where a row names no member.
    """
    parts = []
    for file in table_files(path):
        raw, origin = read_columns(file, _PRICES), Origin(str(file))
        price = to_numbers(raw["price"], "price", origin)
        frame = _weekly(raw, origin, known, members).assign(price=price)
        check_table(frame, PRICES, origin)
        parts.append(frame)
    keys = ["member", "product", "week"]
    return pd.concat(parts).groupby(keys, as_index=False)[["price"]].median()


def _promotions(file: Path, known: Mapping[str, int], members: list[str]) -> pd.DataFrame:
    raw, origin = read_columns(file, _PROMOTIONS), Origin(str(file))
    return _weekly(raw, origin, known, members).assign(
        display=to_flags(raw["display"], "display", origin),
        mailer=to_flags(raw["mailer"], "mailer", origin),
    )


def _weekly(
    raw: pd.DataFrame, origin: Origin, known: Mapping[str, int], members: list[str]
) -> pd.DataFrame:
    """Return member, product and Monday of each row."""
    member = to_text(raw["member"], "member", origin)
    strangers = ~member.isin(members)
    if strangers.any():
        row = int(strangers.to_numpy().argmax())
        raise origin.error("member", row, f"'{member.iloc[row]}' is no member")
    week = to_times(raw["week"], "week", origin).dt.normalize()
    return pd.DataFrame(
        {
            "member": member,
            "product": to_products(raw["product"], "product", origin, known),
            "week": week - pd.to_timedelta(week.dt.day_of_week, unit="D"),
        }
    )


def _given(names: Mapping[str, str | None]) -> dict[str, str]:
    return {column: name for column, name in names.items() if name is not None}


def _renamed(file: Path, names: Mapping[str, str]) -> tuple[pd.DataFrame, Origin]:
    """Return the named columns under the schema's names, and the origin that knows the file's."""
    raw = read_columns(file, list(dict.fromkeys(names.values())))
    frame = pd.DataFrame({column: raw[name] for column, name in names.items()})
    return frame, Origin(str(file), names)
