"""What an auditor hands in: bundles, the agreement from elsewhere, a time."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from securefl.audit.bundle.bundle import Bundle, BundleError, first_fault, parse, read_object
from securefl.consortium.agreement.signatures import SignedAgreement, from_json
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.errors import InputError


def read_bundle(path: Path) -> Bundle:
    """The bundle in a file.

    Raises:
        BundleError: If there is none in it.
    """
    try:
        return parse(read_object(path))
    except ValidationError as error:
        reason, place = first_fault(error)
        raise BundleError(f"{path}: {place}: {reason}") from None


def pinned_agreement(path: Path) -> SignedAgreement:
    """The agreement that an auditor got from a member.

    Args:
        path: `agreement.toml` with its signatures beside it, or the `agreement.json` of a run on
            one machine.

    Raises:
        AgreementError: If it is neither.
        InputError: If the file is no JSON.
    """
    if path.suffix != ".json":
        return read_signed(path)
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no agreement: {error}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path} is no agreement: it holds no JSON object")
    return from_json(tree, str(path))


def moment(text: str) -> datetime:
    """A time like 2026-01-31T09:00:00Z.

    Raises:
        InputError: If it is none.
    """
    try:
        return from_timestamp(text)
    except ValueError as error:
        raise InputError(f"--now: {error}, not {text}") from None
