"""The catalogue's products, and which of them a label of a line means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.sources.files.gtin import gtin
from securefl.data.sources.files.labels import (
    IN_STORE,
    MISSING,
    NOT_A_GTIN,
    ROUNDED,
    folded,
    is_rounded,
    normalised,
)

NEAR = -10
"""Numbers at or below it stand for a near label: `NEAR - number` is the product that it is near."""


@dataclass
class Matcher:
    """Numbers of products for the labels of one member, and what did not match.

    Attributes:
        numbers: Normalised label, or GTIN, to the number of the product.
        near: What becomes of near labels: only `match` gives them the product.
        gtins: Whether products are told apart by GTIN; then no label is near another.
        met: Near label as the file has it, to the product's number.
        unmatched: Labels without a product, as far as they were met.
    """

    numbers: dict[str, int]
    near: Literal["refuse", "match", "keep"]
    gtins: bool = False
    met: dict[str, int] = field(default_factory=dict)
    unmatched: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        near: Literal["refuse", "match", "keep"],
        *,
        gtins: bool = False,
        own: Mapping[str, int] | None = None,
    ) -> Matcher:
        """Return a matcher.

        Args:
            labels: The catalogue's labels, normalised, in its order.
            near: What becomes of near labels.
            gtins: Whether products are told apart by GTIN.
            own: A member's own labels and the rows that they stand for, see `own_products`.
        """
        known = {label: number for number, label in enumerate(labels)} if own is None else own
        return cls(dict(known), near, gtins)

    @cached_property
    def folds(self) -> dict[str, list[int]]:
        """Folded label to the numbers of the products that share it; made when a label needs it."""
        folds: dict[str, list[int]] = {}
        for label, number in self.numbers.items():
            alike = folds.setdefault(folded(label), [])
            if number not in alike:
                alike.append(number)
        return folds

    def __call__(self, label: str) -> int:
        """Return the number of a label's product, `UNKNOWN_PRODUCT`, or one that says why not."""
        plain = normalised(label)
        found = self.numbers.get(plain)
        if found is not None:
            return found
        if not plain:
            return MISSING
        if self.gtins:
            return self._of_gtin(plain)
        alike = self.folds.get(folded(plain), [])
        if len(alike) == 1:
            self.met[label] = alike[0]
            return NEAR - alike[0]
        if is_rounded(plain):
            return ROUNDED
        if len(self.unmatched) < 1000:
            self.unmatched.add(plain)
        return UNKNOWN_PRODUCT

    def _of_gtin(self, plain: str) -> int:
        if is_rounded(plain):
            return ROUNDED
        judged = gtin(plain)
        if judged.kind != "gtin":
            return NOT_A_GTIN if judged.kind == "not-a-gtin" else IN_STORE
        if judged.digits not in self.numbers and len(self.unmatched) < 1000:
            self.unmatched.add(judged.digits)
        return self.numbers.get(judged.digits, UNKNOWN_PRODUCT)

    def name(self, number: int) -> str:
        """Return a label of a product, for a person."""
        return next(label for label, known in self.numbers.items() if known == number)

    def near_examples(self) -> str:
        """Return some near labels beside the catalogue's, for a person."""
        shown = [
            f"'{label}' for '{self.name(number)}'" for label, number in list(self.met.items())[:10]
        ]
        return ", ".join(shown)

    def unmatched_examples(self) -> str:
        """Return some labels without a product, each with the nearest of the catalogue."""
        from difflib import get_close_matches

        names = list(self.numbers)[:20_000]
        shown = []
        for label in sorted(self.unmatched)[:10]:
            near = get_close_matches(label, names, n=1, cutoff=0.75)
            shown.append(f"'{label}'" + (f" (near '{near[0]}')" if near else ""))
        return ", ".join(shown)
