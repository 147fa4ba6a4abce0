"""A member's data as they are now, with products numbered as in its model."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.config.data import DataSettings, FilesSettings
from securefl.config.files import LineRules
from securefl.config.load import load_config, nearest
from securefl.config.schema import RunConfig
from securefl.data.frames import customer_labels, numbered, purchases_of_frame
from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.sources.files.identity import label_number
from securefl.data.sources.files.labels import Number, stable_id
from securefl.data.sources.files.locate import SUFFIXES
from securefl.data.sources.registry import load
from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.tasks.served.vocabulary import Vocabulary

Ints = npt.NDArray[np.int64]
Source = DataSettings | pd.DataFrame
Data = pd.DataFrame | str | PathLike[str] | RunConfig
"""Purchases under the member's own labels, or where they are."""


@dataclass(frozen=True)
class OwnData:
    """A member's tables and the labels in them.

    Attributes:
        tables: The tables; products that the model does not know are -1.
        labels: Number of a customer to its label; None where that is the number itself.
        number: Numbers the label of a customer.
        text: Whether all labels are given as text; None for as soon as any of them is.
    """

    tables: RetailerTables
    labels: MutableMapping[int, object] | None
    number: Number = stable_id
    text: bool | None = None

    def label(self, customers: Ints) -> Sequence[object] | Ints:
        """Return the labels of customers; of a number without one, the number."""
        if self.labels is None:
            return customers
        found = [self.labels.get(number, number) for number in customers.tolist()]
        # A column of a file has one type: text, as soon as any customer's label is text.
        return list(map(str, found)) if self._text else found

    @cached_property
    def _text(self) -> bool:
        if self.text is not None:
            return self.text
        return self.labels is not None and any(isinstance(x, str) for x in self.labels.values())

    def with_customers(self, customers: Iterable[object]) -> tuple[OwnData, Ints]:
        """Return the data with the labels of some customers, and their numbers, int64.

        Raises:
            InputError: If there is none, or one is missing.
        """
        column = pd.Series(list(customers), dtype=object)
        if column.empty:
            raise InputError("no customers are given")
        numbers = numbered(column, "customer", self.number).to_numpy(np.int64)
        named = zip(numbers.tolist(), column.tolist(), strict=True)
        labels = {number: label for number, label in named if str(number) != str(label)}
        unique = pd.unique(numbers)
        if not labels:
            return self, unique
        # The labels of all customers are neither copied nor looked through for a request for one.
        text = self._text or any(isinstance(label, str) for label in labels.values())
        every = ChainMap(labels, self.labels or {})
        return replace(self, labels=every, text=text), unique

    def strangers(self, customers: Sequence[str]) -> list[str]:
        """Return those of some customers' labels that are in none of the tables."""
        numbers = numbered(pd.Series(customers, dtype=object), "customer", self.number)
        own = self.tables
        tables = (own.transactions, own.profiles, own.browsing)
        known = [
            table["customer"].unique().astype(np.int64) for table in tables if table is not None
        ]
        strange = ~np.isin(numbers.to_numpy(np.int64), np.concatenate(known))
        return [one for one, is_strange in zip(customers, strange, strict=True) if is_strange]


def data_settings(path: Path, settings: DataSettings) -> DataSettings:
    """Return the settings of data that are given by a path.

    Args:
        path: A configuration, whose section `data` counts; a folder with the files that the run's
            configuration names; or a file of transactions in place of the one it names.
        settings: The data of the run.

    Raises:
        InputError: If it is none of these.
    """
    if path.suffix == ".toml":
        return load_config(path).data
    if not isinstance(settings, FilesSettings):
        raise InputError(f"{path}: this model's data are no files; give a configuration (.toml)")
    if path.is_dir():
        return settings.model_copy(update={"root": path})
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: neither a folder nor .toml, {' nor '.join(SUFFIXES)}")
    members = [
        one.model_copy(update={"transactions": str(path.resolve())}) for one in settings.members
    ]
    return settings.model_copy(update={"members": tuple(members)})


def own_data(
    source: Source,
    member: str,
    vocabulary: Vocabulary,
    *,
    now: bool,
    agreed: DataSettings | None = None,
    apart: bool = False,
) -> OwnData:
    """Return a member's data.

    Args:
        source: Where they are, or purchases under the member's own labels.
        member: The member's name.
        vocabulary: The products of its model.
        now: Whether to read what lies outside of the period that was agreed, too.
        agreed: What the run's configuration says of the data; it numbers customers of a table.
        apart: Whether lines are judged apart, as the model's run did; see `registry.load`.

    Raises:
        InputError: If files are missing, of another member, or know no product of the model.
        DataError: If a table is wrong.
    """
    if isinstance(source, pd.DataFrame):
        number = label_number(agreed) if isinstance(agreed, FilesSettings) else stable_id
        return _of_frame(source, member, vocabulary, number)
    settings = _of_member(source, member)
    if now and isinstance(settings, FilesSettings):
        settings = _as_of_now(settings)
    data = load(settings, apart=apart)
    tables = next((one for one in data.members if one.name == member), None)
    if tables is None:
        names = tuple(one.name for one in data.members)
        raise InputError(f"the data have no member '{member}'{nearest(member, names)}")
    found = tables
    if isinstance(settings, FilesSettings):
        numbers = _renumbered(data.products, vocabulary)
        found = RetailerTables(
            tables.name,
            _known(tables.transactions, numbers),
            tables.profiles,
            None if tables.browsing is None else numbers(tables.browsing),
        )
    if not isinstance(settings, FilesSettings):
        return OwnData(found, None)
    labels = customer_labels(settings, member, apart=apart)
    return OwnData(found, labels, label_number(settings))


def _of_member(settings: DataSettings, member: str) -> DataSettings:
    """Return the settings with this member's files alone, where members have files."""
    if not isinstance(settings, FilesSettings):
        return settings
    own = tuple(one for one in settings.members if one.name == member)
    if not own:
        names = tuple(one.name for one in settings.members)
        raise InputError(f"the data have no member '{member}'{nearest(member, names)}")
    return settings.model_copy(update={"members": own})


def _as_of_now(settings: FilesSettings) -> FilesSettings:
    """Return the settings of a reading in which a bad line ends nothing, of whatever days.

    A bad line is left out, counted, and said with its reason: lists that come each night rest on
    all other lines. What a rule says of lines that can be read stays as it was agreed.
    """
    members = tuple(
        one if one.rules is None else one.model_copy(update={"rules": _lenient(one.rules)})
        for one in settings.members
    )
    changes = {"period": None, "rules": _lenient(settings.rules), "members": members}
    return settings.model_copy(update=changes)


def _lenient(rules: LineRules) -> LineRules:
    return rules.model_copy(update={"broken": "drop"})


def _renumbered(
    products: pd.DataFrame, vocabulary: Vocabulary
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a function that numbers the products of a table as the model does.

    A catalogue that has grown, or stands in another order, numbers them otherwise.
    """
    rows = products[products["product"] != UNKNOWN_PRODUCT]
    table = np.full(len(rows) + 1, UNKNOWN_PRODUCT, dtype=np.int64)  # the last one is -1's
    table[rows["product"].to_numpy(np.int64)] = [vocabulary.number(one) for one in rows["label"]]
    return lambda frame: frame.assign(product=table[frame["product"].to_numpy(np.int64)])


def _known(
    transactions: pd.DataFrame, numbers: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    found = numbers(transactions)
    if (found["product"] == UNKNOWN_PRODUCT).all():
        raise InputError(
            f"none of {transactions['product'].nunique():,} products in the data is known to the"
            " model: are they of another catalogue?"
        )
    return found


def _of_frame(frame: pd.DataFrame, member: str, vocabulary: Vocabulary, number: Number) -> OwnData:
    lines, labels = purchases_of_frame(frame, vocabulary.number, number)
    return OwnData(RetailerTables(member, _known(lines, lambda table: table)), labels, number)


def moment(text: Any) -> np.datetime64:  # noqa: ANN401 - a date of any library
    """Return a moment, datetime64[ns].

    Raises:
        InputError: If it is none.
    """
    try:
        found = pd.Timestamp(text).to_numpy().astype("datetime64[ns]")
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"'{text}' is no date such as 2026-03-01") from None
    if np.isnat(found):
        raise InputError(f"'{text}' is no date such as 2026-03-01")
    return np.datetime64(found)


def given_data(data: Data | None) -> Source | None:
    """Return the data of a retailer whose files no configuration of the run names."""
    if data is None or isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, RunConfig):
        return data.data
    if Path(data).suffix != ".toml":
        raise InputError(f"{data}: for a released model, give a configuration (.toml)")
    return load_config(Path(data)).data


def source_of(data: Data | None, settings: DataSettings) -> Source:
    """Return the data that were given; what the run's configuration names where none were."""
    if data is None:
        return settings
    if isinstance(data, pd.DataFrame):
        return data
    return data.data if isinstance(data, RunConfig) else data_settings(Path(data), settings)
