"""A member's model in Python: opened from its folder, and asked with tables of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import torch

from securefl.config.schema import RunConfig
from securefl.errors import InputError
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import total
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.common.held_out import HeldOut
from securefl.tasks.common.serving import Request, Verb, refuse_unknown
from securefl.tasks.served.adopting import open_released
from securefl.tasks.served.folder import read_manifest
from securefl.tasks.served.manifest import CARD, Manifest
from securefl.tasks.served.opening import OpenedModel, open_folder
from securefl.tasks.served.own_data import Data, OwnData, given_data, moment, own_data, source_of
from securefl.untrusted.files import SMALL, read_text

Moment = str | pd.Timestamp | np.datetime64


class Model:
    """A member's model, as `open_model` returns it.

    Nothing in it changes: several threads may ask it at the same time.

    Attributes:
        manifest: What its folder says of it.
        config: The configuration of the run.
        opened: Its parts.
    """

    def __init__(self, opened: OpenedModel, data: Data | None) -> None:
        self.manifest: Manifest = opened.manifest
        self.config: RunConfig = opened.config
        self.opened = opened
        self._given = data
        self._lock = Lock()
        self._kept: OwnData | None = None

    def __repr__(self) -> str:
        about = self.manifest
        return f"<securefl.Model {about.task}/{about.model} of {about.member}>"

    @property
    def verb(self) -> Verb:
        """The method that answers for this task: `recommend`, `forecast`, `predict_proba`, ..."""
        return self.opened.served.verb

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics on the member's test cases, as the closing table has them."""
        return {name: figure.value for name, figure in self.manifest.metrics.items()}

    @property
    def card(self) -> str:
        """The model card, as Markdown."""
        return read_text(self.opened.folder / CARD, SMALL, inside=self.opened.folder)

    def recommend(
        self,
        customers: Iterable[object] | None = None,
        k: int = 10,
        *,
        data: Data | None = None,
        departments: Sequence[str] = (),
        without_departments: Sequence[str] = (),
        candidates: Iterable[object] | None = None,
        keep_bought: bool = False,
        new_products: bool = False,
        as_of: Moment | None = None,
    ) -> pd.DataFrame:
        """Return a list of products for each customer.

        Args:
            customers: The customers' labels; by default all in the data. One without purchases has
                the most popular products.
            k: Length of each list.
            data: Purchases; by default those that the model was opened with.
            departments: Departments whose products may be listed; by default all.
            without_departments: Departments whose products may not.
            candidates: Labels of the products that may be listed.
            keep_bought: Whether what a customer bought may be in their list.
            new_products: Whether to rank products that count as new, and those alone.
            as_of: The moment from which on purchases are ignored.

        Returns:
            Columns `customer`, `rank` (from 1), `product`, `score` and `basis` (`known`, `history`
            or `popular`), sorted by customer and rank.

        Raises:
            InputError: If the model is of another task, or the data cannot be used.
        """
        limits = self.limited(departments, without_departments, candidates)
        request = Request(
            k=k,
            candidates=limits,
            keep_bought=keep_bought or None,
            new_products=new_products or None,
            as_of=None if as_of is None else moment(as_of),
        )
        return self._all("recommend", request, data, customers)

    def forecast(
        self,
        h: int = 1,
        *,
        data: Data | None = None,
        interval: float = 0.8,
        as_of: Moment | None = None,
    ) -> pd.DataFrame:
        """Return forecasts of the coming `h` weeks or days of each series.

        Args:
            h: Number of steps.
            data: See `recommend`.
            interval: Probability that a band holds.
            as_of: See `recommend`; data before it are taken for complete.

        Returns:
            Columns `series`, `period_start`, `forecast`, `lower` and `upper`, in units.

        Raises:
            InputError: See `recommend`; also if `h` is beyond what the data allow.
        """
        request = Request(
            horizon=h, interval=interval, as_of=None if as_of is None else moment(as_of)
        )
        return self._all("forecast", request, data)

    def predict_proba(
        self,
        customers: Iterable[object] | None = None,
        *,
        data: Data | None = None,
        as_of: Moment | None = None,
    ) -> pd.DataFrame:
        """Return each customer's probability of not coming back.

        Args:
            customers: The customers' labels; by default all that the model speaks of.
            data: See `recommend`.
            as_of: The day from which on it holds; by default the day after the data.

        Returns:
            Columns `customer`, `probability`, `as_of` and `until`.

        Raises:
            InputError: See `recommend`.
        """
        request = Request(as_of=None if as_of is None else moment(as_of))
        return self._all("predict_proba", request, data, customers)

    def predict(self, *, data: Data | None = None, as_of: Moment | None = None) -> pd.DataFrame:
        """Return what the model says of the data where nothing further is asked for.

        Of inventory these are order levels, of pricing prices and elasticities, and of other tasks
        what the method named by `verb` returns.

        Args:
            data: See `recommend`.
            as_of: See `recommend`.

        Raises:
            InputError: See `recommend`.
        """
        request = Request(as_of=None if as_of is None else moment(as_of))
        return pd.concat(self.stream(request, data), ignore_index=True)

    def evaluate(self, data: Data | None = None, split: Split = "test") -> dict[str, float]:
        """Return the metrics on held-out cases of data, cut as in the run.

        Args:
            data: See `recommend`; of the run's own data these are the closing table's figures.
            split: `validation` or `test`.

        Raises:
            InputError: See `recommend`.
        """
        opened = self.opened
        tables = self._read(data, now=False).tables
        prepared = opened.served.task.prepare(tables, opened.served.facts)
        with torch.no_grad():
            return total(opened.served.evaluate(prepared, split).values()).values()

    @torch.no_grad()
    def held_out(self, data: Data | None = None) -> HeldOut | None:
        """Return what the model says of the test cases beside what happened, to be drawn.

        Args:
            data: See `evaluate`.

        Returns:
            Products and customers in numbers; None for a model that has no such picture.

        Raises:
            InputError: See `recommend`.
        """
        served = self.opened.served
        tables = self._read(data, now=False).tables
        return served.held_out(served.task.prepare(tables, served.facts), tables)

    def stream(
        self,
        request: Request,
        data: Data | None = None,
        customers: Iterable[object] | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Yield predictions some rows at a time, under the member's own labels.

        Args:
            request: What is asked; its products and moments are numbers already.
            data: See `recommend`.
            customers: See `recommend`.

        Raises:
            InputError: See `recommend`.
        """
        refuse_unknown(self.opened.served, request)
        own = self._read(data, now=True)
        if customers is not None:
            own, numbers = own.with_customers(customers)
            request = _with_customers(request, numbers)
            refuse_unknown(self.opened.served, request)
        for frame in self.opened.served.predict(own.tables, request):
            yield self._labelled(frame, own)

    def limited(
        self,
        departments: Sequence[str],
        without_departments: Sequence[str],
        candidates: Iterable[object] | None,
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """Return the numbers of the products that may be listed, int64; None where all may.

        Raises:
            InputError: If a department or all of the candidates are unknown.
        """
        words, found = self.opened.vocabulary, None
        if departments or without_departments:
            found = words.of_departments(departments, without_departments)
        if candidates is not None:
            numbers = np.array([words.number(str(one)) for one in candidates], dtype=np.int64)
            if not (numbers >= 0).any():
                raise InputError("none of the candidates is known to the model")
            found = numbers if found is None else np.intersect1d(found, numbers)
        return found

    def read(self, data: Data | None = None) -> OwnData:
        """Return the member's data with products numbered as in the model.

        Args:
            data: See `recommend`.

        Raises:
            InputError: See `recommend`.
        """
        return self._read(data, now=True)

    def _all(
        self,
        verb: Verb,
        request: Request,
        data: Data | None,
        customers: Iterable[object] | None = None,
    ) -> pd.DataFrame:
        if verb != self.verb:
            raise InputError(f"a model of task '{self.config.task}' does not {verb}: {self.verb}")
        return pd.concat(self.stream(request, data, customers), ignore_index=True)

    def read_data(self) -> None:
        """Read the data that the model was opened with, which otherwise happens when it is asked.

        Raises:
            InputError: If a file is missing or wrong.
        """
        self._read(None, now=True)

    def _read(self, data: Data | None, *, now: bool) -> OwnData:
        if data is not None or not now:
            return self._fresh(self._given if data is None else data, now=now)
        # Read once, by whichever thread asks first.
        with self._lock:
            if self._kept is None:
                self._kept = self._fresh(self._given, now=True)
            return self._kept

    def _fresh(self, data: Data | None, *, now: bool) -> OwnData:
        member = self.manifest.member
        assert member is not None  # a released model is not opened
        agreed = self.config.data
        source, vocabulary = source_of(data, agreed), self.opened.vocabulary
        apart = mechanism_for(self.config.privacy).private
        return own_data(source, member, vocabulary, now=now, agreed=agreed, apart=apart)

    def _labelled(self, frame: pd.DataFrame, own: OwnData) -> pd.DataFrame:
        labels: Mapping[str, Any] = {
            "customer": own.label,
            "product": self.opened.vocabulary.label,
        }
        # Series of single products are named by the products' numbers.
        labelled = self.opened.vocabulary.labels is not None
        if labelled and getattr(self.config.cuts, "level", None) == "product":
            labels = {**labels, "series": self.opened.vocabulary.label}
        for name, label in labels.items():
            if name in frame:
                frame[name] = label(frame[name].to_numpy(np.int64))
        return frame


def open_model(
    path: str | PathLike[str], data: Data | None = None, member: str | None = None
) -> Model:
    """Return a member's model, or the released one with a retailer's own data.

    Args:
        path: Its folder: `members/NAME/model` of a run, or `released`.
        data: The member's data as they are now: a configuration (or a `.toml` file) whose section
            `data` counts, a folder with the files that the run's configuration names, a file of
            transactions, or a table of purchases. By default what the run's configuration names.
            With a released model, a configuration or a table.
        member: With a released model, which retailer of the data; it need not be of the run.

    Raises:
        InputError: If it is no model, or a file of it is missing, damaged or of another version.
    """
    folder = Path(path)
    if read_manifest(folder).kind == "member":
        if member is not None:
            raise InputError(f"{folder} is a member's own model; it serves no other retailer")
        return Model(open_folder(folder), data)
    return Model(open_released(folder, given_data(data), member), data)


def _with_customers(request: Request, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> Request:
    return Request(**{**vars(request), "customers": numbers})
