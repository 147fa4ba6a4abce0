"""Trade item numbers (GTIN) in one canonical form, as the GS1 General Specifications define them.

A GTIN has 8, 12, 13 or 14 digits, and is the same number with zeros in front: the canonical form
has 14. The last digit is a check digit whose weights count from the right, so leading zeros that
spreadsheets lose change nothing. What looks like a GTIN and identifies nothing outside of one
retailer is told apart: two shops use one number for different products there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["gtin", "in-store", "no-product", "not-a-gtin"]

_DIGITS: Final = re.compile(r"[0-9](?:[ -]?[0-9]){6,13}")
_ISBN_10: Final = re.compile(r"[0-9](?:[ -]?[0-9]){8}[ -]?[0-9Xx]")
_SEPARATED: Final = re.compile(r"[ -]")

_IN_STORE: Final = ("02", "04", *(str(number) for number in range(20, 30)))
"""Prefixes of a GTIN-13 that GS1 leaves to each retailer (General Specifications, figure 1.4.2-1:
restricted circulation within a region or a company)."""

_NO_PRODUCT: Final = ("05", "980", "981", "982", "983", "984", "99")
"""Prefixes of a GTIN-13 of coupons and refund receipts, which are no goods."""

_ONE_SHOP: Final = "is a number that each retailer uses for its own goods"
_TWO_MEANINGS: Final = "is a GTIN that lost its zeros, or an ISBN; write 12 or 13 digits"


@dataclass(frozen=True)
class Gtin:
    """What a label is, as a trade item number.

    Attributes:
        kind: `gtin` identifies a product everywhere; `in-store` only within one retailer;
            `no-product` is a coupon or receipt; `not-a-gtin` is none.
        digits: The canonical form, 14 digits; empty for what is none.
        problem: Why it is none, or identifies nothing outside; empty for a GTIN.
    """

    kind: Kind
    digits: str = ""
    problem: str = ""


def gtin(label: str) -> Gtin:
    """Judge a label.

    Blanks and hyphens between digits are passed over, and an ISBN of ten digits is read as the
    GTIN with prefix 978 that it became. Digits that were lost in front are put back, down to 9.

    Args:
        label: The label, normalised.
    """
    bare = _SEPARATED.sub("", label)
    isbn = _isbn_10(label, bare)
    if _DIGITS.fullmatch(label) is None or len(bare) < 8:
        return isbn or Gtin("not-a-gtin", problem="is no GTIN: it has not 8 to 14 digits")
    good = check_digit(bare[:-1]) == bare[-1]
    if good and isbn is not None:
        return Gtin("not-a-gtin", problem=_TWO_MEANINGS)
    if not good:
        return isbn or Gtin("not-a-gtin", problem="has a wrong check digit")
    return _judged(bare.zfill(14))


def check_digit(digits: str) -> str:
    """Return the check digit after the others: weights 3 and 1 in turn, from the right."""
    weighed = sum(int(d) * (3, 1)[n % 2] for n, d in enumerate(reversed(digits)))
    return str(-weighed % 10)


def _judged(digits: str) -> Gtin:
    """Return what 14 digits with a right check digit identify."""
    if not digits.strip("0"):
        return Gtin("not-a-gtin", problem="is all zeros")
    if digits[0] == "9":
        return Gtin("in-store", digits, "is of variable measure: no one product")
    # A GTIN-8 has prefixes of its own: 0 and 2 are left to each retailer.
    short = digits.startswith("000000")
    if digits[6] in "02" if short else digits.startswith(_IN_STORE, 1):
        return Gtin("in-store", digits, _ONE_SHOP)
    if not short and digits.startswith(_NO_PRODUCT, 1):
        return Gtin("no-product", digits, "is a coupon or receipt, no product")
    return Gtin("gtin", digits)


def _isbn_10(label: str, bare: str) -> Gtin | None:
    """Return an ISBN of ten digits as its GTIN (ISO 2108); None of what is none."""
    if _ISBN_10.fullmatch(label) is None:
        return None
    total = sum((10 - n) * (10 if d in "Xx" else int(d)) for n, d in enumerate(bare))
    if total % 11:
        return None
    body = "978" + bare[:9]
    return Gtin("gtin", "0" + body + check_digit(body))
