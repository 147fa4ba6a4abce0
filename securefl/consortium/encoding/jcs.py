"""Canonical JSON for digests and signatures: RFC 8785 (JSON Canonicalization Scheme)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import rfc8785
from pydantic import AfterValidator, Field

from securefl.errors import AgreementError

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def canonical_bytes(tree: Mapping[str, Any]) -> bytes:
    """Return the canonical RFC 8785 bytes of a JSON object.

    Raises:
        AgreementError: If a number has no canonical form (an integer above 2^53).
    """
    try:
        return rfc8785.dumps(dict(tree))
    except rfc8785.CanonicalizationError as error:
        raise AgreementError(f"this cannot be signed: {error}") from None


def to_timestamp(moment: datetime) -> str:
    """Format a time as RFC 3339 in UTC, to the second.

    Args:
        moment: A time with a time zone.
    """
    return moment.astimezone(UTC).strftime(_FORMAT)


def from_timestamp(text: str) -> datetime:
    """Parse the output of `to_timestamp`.

    Raises:
        ValueError: If the text is not in that form, or is no valid date.
    """
    # `strptime` accepts other spellings of one time ("2026-1-31"); a signed text must have one.
    if not _TIME.fullmatch(text):
        raise ValueError("a time is written like 2026-01-31T09:00:00Z")
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def _checked(text: str) -> str:
    from_timestamp(text)
    return text


Timestamp = Annotated[str, Field(strict=True), AfterValidator(_checked)]
Hex32 = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
Hex64 = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{128}$")]
