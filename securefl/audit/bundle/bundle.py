"""The audit bundle: everything that an auditor of one run needs, as readable JSON.

Its content is untrusted. What members signed is verified with the keys of the agreement; what the
coordinator adds (tree heads, proofs, file names, claims) is compared with what members signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from securefl.consortium.agreement.signatures import SignedAgreement, written_as
from securefl.consortium.ledger.event_base import Count, Digest, Name, Record, Time
from securefl.consortium.ledger.events import SignedEntry
from securefl.consortium.ledger.tree_heads import SignedHead
from securefl.errors import InputError
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import MEBIBYTE

FORMAT = "securefl-audit/1"

FileName = Annotated[
    str, Field(max_length=200, pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][\w.-]*$")
]
"""At most one folder down and never up, so that a bundle cannot name other files of its reader."""


LARGEST_BUNDLE = 256 * MEBIBYTE
LARGEST_TRANSCRIPT = 1024 * MEBIBYTE
LARGEST_TRANSCRIPTS = 64 * LARGEST_TRANSCRIPT
"""Most bytes of all transcripts beside a bundle."""
MOST_COORDINATES = 1 << 27
"""Coordinates of a start model that is read; it has four bytes for each."""
Path64 = Annotated[tuple[Digest, ...], Field(max_length=64)]
"""Hashes of a proof; a log of 2^63 entries needs no more."""


class BundleError(InputError):
    """Raised if a file is not a bundle or cannot be read; the message names the file."""

    wire_name: ClassVar[str] = "BundleError"


class LinkedHead(Record):
    """A tree head with the RFC 9162 consistency proof from the head before it."""

    head: SignedHead
    consistency: Path64


class Inclusion(Record):
    """The RFC 9162 inclusion proof of a member's last entry under the last tree head.

    Attributes:
        member: Author of the entry.
        index: Index of the entry in the log, from 0.
        proof: Hashes from the leaf to the root.
    """

    member: Name
    index: Count
    proof: Path64


class TranscriptFile(Record):
    """Reference to the signed transcript of a masked sum.

    Attributes:
        round: Number of the round.
        digest: Digest in the members' entries.
        file: Path relative to the bundle.
    """

    round: Count
    digest: Digest
    file: FileName


class Opening(Record):
    """Opening of a member's commitment to the number of privacy units in its data.

    Attributes:
        member: Name of the member.
        units: Number of privacy units.
        salt: Salt of the commitment.
    """

    member: Name
    units: Count
    salt: Digest


class Claims(Record):
    """Claims of the coordinator that no member signed.

    Attributes:
        model: Digest of the shared model that it publishes as the result.
        dimension: Number of shared coordinates.
        start_model: File with the model before the first round, float32 little-endian.
    """

    model: Digest | None
    dimension: Count
    start_model: FileName | None


class Bundle(Record):
    """The audit bundle of one run.

    Attributes:
        format: Version of this file format.
        created: Time of the export.
        run: Run id, hex.
        agreement: The consortium agreement with its signatures.
        entries: The complete log in log order.
        heads: Every tree head, the oldest first.
        inclusion: One inclusion proof for each member.
        transcripts: One reference for each archived transcript of a masked sum.
        openings: Opened commitments.
        claims: The coordinator's claims.
    """

    format: Literal["securefl-audit/1"]
    created: Time
    run: Digest
    agreement: SignedAgreement
    entries: Annotated[tuple[SignedEntry, ...], Field(max_length=1_000_000)]
    heads: Annotated[tuple[LinkedHead, ...], Field(max_length=100_000)]
    inclusion: Annotated[tuple[Inclusion, ...], Field(max_length=10_000)]
    transcripts: Annotated[tuple[TranscriptFile, ...], Field(max_length=100_000)]
    openings: Annotated[tuple[Opening, ...], Field(max_length=10_000)]
    claims: Claims

    @field_validator("agreement", mode="wrap")
    @classmethod
    def _as_signed(
        cls,
        value: Any,  # noqa: ANN401 - whatever was given
        handler: ValidatorFunctionWrapHandler,
    ) -> SignedAgreement:
        signed: SignedAgreement = handler(value)
        if isinstance(value, Mapping) and not written_as(signed, value):
            raise ValueError("a value is of another type than what was signed")
        return signed

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        # Each transcript is replayed. One that is listed 400 times would cost an auditor minutes.
        for name, values in (
            ("transcripts: a round", [file.round for file in self.transcripts]),
            ("transcripts: a file", [file.file for file in self.transcripts]),
            ("inclusion: a member", [proof.member for proof in self.inclusion]),
            ("openings: a member", [opening.member for opening in self.openings]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} stands twice")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the bundle as a JSON object."""
        tree = self.model_dump(mode="json", exclude={"agreement"})
        return tree | {"agreement": self.agreement.to_json()}


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file, and check its format field.

    Raises:
        BundleError: If there is no such file, or it holds no bundle of this format.
    """
    tree = read_json(path, LARGEST_BUNDLE, error=BundleError)
    if not isinstance(tree, dict):
        raise BundleError(f"{path} is no bundle: it holds no JSON object")
    if tree.get("format") != FORMAT:
        raise BundleError(f"{path} is no bundle: its format is not '{FORMAT}'")
    return tree


def parse(tree: Mapping[str, Any]) -> Bundle:
    """Parse a bundle from a JSON object.

    Raises:
        ValidationError: If a field is missing, unknown, or invalid.
    """
    return Bundle.model_validate_json(json.dumps(tree))


def bundle_schema() -> dict[str, Any]:
    """Return the JSON schema of bundles (draft 2020-12).

    The configuration in the agreement is any object here: a bundle is verified over its bytes, and
    what the program makes of them is a check of its own.
    """
    schema = Bundle.model_json_schema()
    definitions = schema["$defs"]
    definitions["Agreement"]["properties"]["config"] = {"type": "object"}
    used: set[str] = set()
    waiting = [
        name
        for name in definitions
        if f'"#/$defs/{name}"'
        in json.dumps({key: value for key, value in schema.items() if key != "$defs"})
    ]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            text = json.dumps(definitions[name])
            waiting += [other for other in definitions if f'"#/$defs/{other}"' in text]
    kept = {name: definitions[name] for name in sorted(used)}
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": FORMAT, **schema, "$defs": kept}


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Return the first validation error of a bundle and its location."""
    fault = error.errors(include_url=False, include_context=False)[0]
    return fault["msg"], ".".join(str(part) for part in fault["loc"]) or "bundle"


def to_text(bundle: Bundle) -> str:
    """Return the text of the bundle's file, with one entry or tree head on each line."""
    tree = bundle.to_json()
    lists = {name: tree.pop(name) for name in ("heads", "entries")}
    text = json.dumps(tree, indent=1, allow_nan=False).removesuffix("\n}")
    for name, items in lists.items():
        lines = ",\n  ".join(json.dumps(item, allow_nan=False) for item in items)
        text += f',\n "{name}": [\n  {lines}\n ]'
    return f"{text}\n}}\n"
