"""The catalogue's products, and which of them a label of a line means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.sources.files.labels import MISSING, ROUNDED, folded, is_rounded, normalised

NEAR = -10
"""Numbers at or below it stand for a near label: `NEAR - number` is the product that it is near."""


@dataclass
class Matcher:
    """Numbers of products for the labels of one member, and what did not match.

    Attributes:
        numbers: Normalised label to the number of the product.
        near: What becomes of near labels: only `match` gives them the product.
        folds: Folded label to the numbers of the products that share it.
        met: Near label as the file has it, to the product's number.
        unmatched: Labels without a product, as far as they were met.
    """

    numbers: dict[str, int]
    near: Literal["refuse", "match", "keep"]
    folds: dict[str, list[int]] = field(default_factory=dict)
    met: dict[str, int] = field(default_factory=dict)
    unmatched: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, labels: Sequence[str], near: Literal["refuse", "match", "keep"]) -> Matcher:
        """Return a matcher for the catalogue's labels, normalised, in its order."""
        matcher = cls({label: number for number, label in enumerate(labels)}, near)
        for label, number in matcher.numbers.items():
            matcher.folds.setdefault(folded(label), []).append(number)
        return matcher

    def __call__(self, label: str) -> int:
        """Return the number of a label's product, `UNKNOWN_PRODUCT`, or one that says why not."""
        plain = normalised(label)
        found = self.numbers.get(plain)
        if found is not None:
            return found
        if not plain:
            return MISSING
        alike = self.folds.get(folded(plain), [])
        if len(alike) == 1:
            self.met[label] = alike[0]
            return NEAR - alike[0]
        if is_rounded(plain):
            return ROUNDED
        if len(self.unmatched) < 1000:
            self.unmatched.add(plain)
        return UNKNOWN_PRODUCT

    def near_examples(self) -> str:
        """Return some near labels beside the catalogue's, for a person."""
        names = list(self.numbers)
        shown = [
            f"'{label}' for '{names[number]}'" for label, number in list(self.met.items())[:10]
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
