"""The bundle: everything that an auditor of one run needs, as readable JSON.

Nothing in it is trusted for being in it. What members signed is checked against the keys of the
agreement; what the coordinator adds (heads, proofs, file names, claims) is compared with that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from securefl.consortium.agreement.signatures import SignedAgreement
from securefl.consortium.ledger.events import Count, Digest, Name, Record, SignedEntry, Time
from securefl.consortium.ledger.tree_heads import SignedHead
from securefl.errors import InputError

FORMAT = "securefl-audit/1"

FileName = Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][\w.-]*$")]
"""At most one folder down, and never up: a bundle names no other file of its reader's."""


class BundleError(InputError):
    """A file is no bundle at all, or cannot be read; the text names it."""

    wire_name: ClassVar[str] = "BundleError"


class LinkedHead(Record):
    """A countersigned head with the RFC 9162 proof that it continues the head before it."""

    head: SignedHead
    consistency: tuple[Digest, ...]


class Inclusion(Record):
    """The RFC 9162 proof that a member's last entry is under the last head.

    Attributes:
        member: Whose entry it is.
        index: Its place in the log, from 0.
        proof: Hashes from the leaf to the root.
    """

    member: Name
    index: Count
    proof: tuple[Digest, ...]


class TranscriptFile(Record):
    """Where the signed transcript of a masked sum lies.

    Attributes:
        round: Number of the round.
        digest: As in the members' entries.
        file: Beside the bundle.
    """

    round: Count
    digest: Digest
    file: FileName


class Opening(Record):
    """A member opens its commitment to the number of units in its data.

    Attributes:
        member: Whose it is.
        units: Number of units.
        salt: What the commitment was salted with.
    """

    member: Name
    units: Count
    salt: Digest


class Claims(Record):
    """What the coordinator says beyond what members signed.

    Attributes:
        model: Digest of the shared model that it hands out as the result.
        dimension: Number of shared coordinates.
        start_model: File with the model before the first round, float32 little-endian.
    """

    model: Digest | None
    dimension: Count
    start_model: FileName | None


class Bundle(Record):
    """One run, for an auditor.

    Attributes:
        format: Of this file.
        created: When it was written.
        run: Names the run.
        agreement: The consortium's agreement with its signatures.
        entries: The whole log, in its order.
        heads: Every head, the oldest first.
        inclusion: One proof a member.
        transcripts: One a masked sum.
        openings: Commitments that members chose to open.
        claims: The coordinator's own.
    """

    format: Literal["securefl-audit/1"]
    created: Time
    run: Digest
    agreement: SignedAgreement
    entries: tuple[SignedEntry, ...]
    heads: tuple[LinkedHead, ...]
    inclusion: tuple[Inclusion, ...]
    transcripts: tuple[TranscriptFile, ...]
    openings: tuple[Opening, ...]
    claims: Claims

    def to_json(self) -> dict[str, Any]:
        """The bundle as a JSON object."""
        tree = self.model_dump(mode="json", exclude={"agreement"})
        return tree | {"agreement": self.agreement.to_json()}


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        BundleError: If there is no such file, or no JSON object in it.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is no JSON: {error}") from None
    if not isinstance(tree, dict):
        raise BundleError(f"{path} is no bundle: it holds no JSON object")
    if tree.get("format") != FORMAT:
        raise BundleError(f"{path} is no bundle: its format is not '{FORMAT}'")
    return tree


def parse(tree: Mapping[str, Any]) -> Bundle:
    """The bundle in a JSON object.

    Raises:
        ValidationError: If a field is missing, unknown, or not what it should be.
    """
    return Bundle.model_validate_json(json.dumps(tree))


def first_fault(error: ValidationError) -> tuple[str, str]:
    """What is wrong with a bundle, and where in it."""
    fault = error.errors(include_url=False, include_context=False)[0]
    return fault["msg"], ".".join(str(part) for part in fault["loc"]) or "bundle"


def to_text(bundle: Bundle) -> str:
    """The bundle as it is written: one entry and one head a line."""
    tree = bundle.to_json()
    lists = {name: tree.pop(name) for name in ("heads", "entries")}
    text = json.dumps(tree, indent=1, allow_nan=False).removesuffix("\n}")
    for name, items in lists.items():
        lines = ",\n  ".join(json.dumps(item, allow_nan=False) for item in items)
        text += f',\n "{name}": [\n  {lines}\n ]'
    return f"{text}\n}}\n"


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one name, different readers would believe different ones."""
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return tree
