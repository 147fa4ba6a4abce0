"""Reading of the auditor's inputs: bundles, the pinned agreement, a time."""

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
    """Read the bundle in a file.

    Raises:
        BundleError: If the file holds no valid bundle.
    """
    try:
        return parse(read_object(path))
    except ValidationError as error:
        reason, place = first_fault(error)
        raise BundleError(f"{path}: {place}: {reason}") from None


def pinned_agreement(path: Path) -> SignedAgreement:
    """Read the agreement that the auditor obtained from a member.

    Args:
        path: `agreement.toml` with its signature files, or the `agreement.json` of a run on
            one machine.

    Raises:
        AgreementError: If it is neither.
        InputError: If the file is not JSON.
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
    """Parse a time like 2026-01-31T09:00:00Z.

    Raises:
        InputError: If it is not such a time.
    """
    try:
        return from_timestamp(text)
    except ValueError as error:
        raise InputError(f"--now: {error}, not {text}") from None
