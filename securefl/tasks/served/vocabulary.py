"""The products of a model under the labels that the retailers agreed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.sources.files.gtin import gtin
from securefl.errors import InputError

Ints = npt.NDArray[np.int64]

_MOST: Final = 5_000_000


@dataclass(frozen=True)
class Vocabulary:
    """Products and their labels.

    Attributes:
        products: Numbers of the products in the facts, int64 [P], ascending.
        labels: What the retailers call them; None where that is the number itself.
        departments: Department of each; None where no list is made.
    """

    products: Ints
    labels: tuple[str, ...] | None
    departments: tuple[str, ...] | None

    @classmethod
    def empty(cls) -> Vocabulary:
        """Return one without products, whose labels are numbers."""
        return cls(np.zeros(0, dtype=np.int64), None, None)

    @classmethod
    def of(cls, catalogue: pd.DataFrame | None, listed: Ints | None) -> Vocabulary:
        """Return the vocabulary of a run.

        Args:
            catalogue: The agreed catalogue, as in `RetailData.products`; None without one.
            listed: Products that the model can list, int64; None where it lists none.
        """
        if catalogue is None:
            return cls.empty()
        rows = catalogue[catalogue["product"] != UNKNOWN_PRODUCT].sort_values("product")
        plain = "label" not in rows
        if plain:
            # Numbers label themselves: only what a list can hold has to be known.
            rows = rows[rows["product"].isin([] if listed is None else listed)]
        labels = None if plain else tuple(rows["label"].astype(str))
        departments = None if listed is None else tuple(rows["department"].astype(str))
        return cls(rows["product"].to_numpy(np.int64), labels, departments)

    def tree(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "products": self.products.tolist(),
            "labels": None if self.labels is None else list(self.labels),
            "departments": None if self.departments is None else list(self.departments),
        }

    @classmethod
    def from_tree(cls, tree: Any, where: str) -> Vocabulary:  # noqa: ANN401 - JSON
        """Return the inverse of `tree`.

        Raises:
            InputError: If it is damaged.
        """
        if not isinstance(tree, dict) or tree.keys() != {"products", "labels", "departments"}:
            raise InputError(f"{where} is damaged: no vocabulary")
        numbers = tree["products"]
        if not isinstance(numbers, list) or len(numbers) > _MOST:
            raise InputError(f"{where} is damaged: no list of products")
        if not all(type(number) is int and -1 <= number < 2**63 for number in numbers):
            raise InputError(f"{where} is damaged: a product has no number")
        products = np.array(numbers, dtype=np.int64)
        if len(products) > 1 and (np.diff(products) <= 0).any():
            raise InputError(f"{where} is damaged: its products do not ascend")
        count = len(products)
        words = {name: _words(tree[name], count, where) for name in ("labels", "departments")}
        return cls(products, words["labels"], words["departments"])

    @cached_property
    def numbers(self) -> Mapping[str, int] | None:
        """Label to number; None where labels are numbers."""
        if self.labels is None:
            return None
        return dict(zip(self.labels, self.products.tolist(), strict=True))

    def number(self, label: str) -> int:
        """Return the number of a label; -1 for a product that the model does not know."""
        if self.numbers is not None:
            # Where products are GTINs, the catalogue has their canonical form.
            return self.numbers.get(label, self.numbers.get(gtin(label).digits, UNKNOWN_PRODUCT))
        return int(label) if label.isascii() and label.isdecimal() else UNKNOWN_PRODUCT

    def label(self, products: Ints) -> npt.NDArray[np.object_] | Ints:
        """Return the labels of products that the model knows."""
        if self.labels is None:
            return products
        table = np.array(self.labels, dtype=object)
        found: npt.NDArray[np.object_] = table[np.searchsorted(self.products, products)]
        return found

    def department(self, product: int) -> str | None:
        """Return a product's department; None where it is not known."""
        places = np.flatnonzero(self.products == product)
        return None if self.departments is None or not len(places) else self.departments[places[0]]

    def of_departments(self, allowed: Sequence[str], excluded: Sequence[str]) -> Ints:
        """Return the products of some departments, int64.

        Args:
            allowed: Departments that are allowed; all where none is named.
            excluded: Departments that are not.

        Raises:
            InputError: If no product is of one that is named.
        """
        names = np.array(self.departments or (), dtype=object)
        for name in (*allowed, *excluded):
            if name not in set(names.tolist()):
                known = ", ".join(sorted(set(names.tolist())))[:200] or "none"
                raise InputError(f"no product is of department '{name}'; known: {known}")
        chosen = np.isin(names, list(allowed)) if allowed else np.ones(len(names), dtype=bool)
        found: Ints = self.products[chosen & ~np.isin(names, list(excluded))]
        return found


def _words(words: object, count: int, where: str) -> tuple[str, ...] | None:
    if words is None:
        return None
    if not isinstance(words, list) or len(words) != count:
        raise InputError(f"{where} is damaged: it has not a word for each product")
    if not all(isinstance(word, str) for word in words):
        raise InputError(f"{where} is damaged: a word is no text")
    return tuple(words)
