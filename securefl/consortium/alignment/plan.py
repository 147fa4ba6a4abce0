"""What members agree on before their catalogues are aligned, and the files that say it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from securefl.config.base import Settings
from securefl.config.data import MemberName
from securefl.consortium.encoding.jcs import canonical_bytes
from securefl.consortium.keys.parties import IdentityHex
from securefl.errors import InputError
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL
from securefl.untrusted.text import fault_at
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.set_intersection import (
    MOST_ITEMS,
    MOST_MEMBERS,
    IntersectionPlan,
)

PLAN: Final = "align.json"
_CONTEXT: Final = b"securefl/2/alignment\0"
_HEX_32: Final = r"^[0-9a-f]{64}$"
Level = Literal["department", "category", "kind", "brand", "size"]


class AlignmentPlan(Settings):
    """What all members agree on; its digest is in every message.

    Attributes:
        members: Their names, in the order in which lists go round.
        identities: Their public Ed25519 keys, hex, in the same order; they sign their messages.
        size: Length of every list, public, and above what any member has.
        least: Members that have to sell a product for it to have a row.
        products: What makes two products the same one, as `Identity.products`.
        attributes: Levels of the catalogue by which products without a row are grouped.
        coordinator: Public X25519 key, hex, of the party that combines the last lists.
        coordinator_identity: Its public Ed25519 key, hex; signs what is common.
        nonce: Random, hex: two alignments never share a message.
    """

    format: Literal["securefl-alignment/2"] = "securefl-alignment/2"
    members: Annotated[tuple[MemberName, ...], Field(min_length=2, max_length=MOST_MEMBERS)]
    identities: tuple[IdentityHex, ...]
    size: Annotated[int, Field(ge=1, le=MOST_ITEMS)]
    least: Annotated[int, Field(ge=2)]
    products: Literal["label", "gtin"] = "label"
    attributes: tuple[Level, ...] = ()
    coordinator: Annotated[str, Field(pattern=_HEX_32)]
    coordinator_identity: IdentityHex
    nonce: Annotated[str, Field(pattern=_HEX_32)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        # On a file system that ignores case, two such names would be one file.
        if len({name.lower() for name in self.members}) < len(self.members):
            raise ValueError("members: two have the same name")
        if len(self.identities) != len(self.members):
            raise ValueError("identities: every member has one")
        if len({*self.identities, self.coordinator_identity}) <= len(self.members):
            raise ValueError("identities: two parties have the same key")
        if self.least > len(self.members):
            raise ValueError("least: there are not so many members")
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError("attributes: one is named twice")
        return self

    @property
    def context(self) -> bytes:
        """SHA-256 of all of it, 32 bytes: what members compare by telephone."""
        return sha256(_CONTEXT + canonical_bytes(self.model_dump(mode="json"))).digest()

    @property
    def fingerprint(self) -> str:
        """The digest in groups, to be compared by eye."""
        digits = self.context.hex()[:32]
        return " ".join(digits[at : at + 4] for at in range(0, 32, 4))

    @property
    def intersection(self) -> IntersectionPlan:
        """The plan of the protocol."""
        return IntersectionPlan(len(self.members), self.size, self.least, self.context)


def read_plan(folder: Path) -> AlignmentPlan:
    """Return the plan in an exchange folder.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path = folder / PLAN
    tree = read_json(path, SMALL)
    try:
        return AlignmentPlan.model_validate(tree)
    except ValidationError as error:
        raise InputError(
            f"{path} is no plan of an alignment: {fault_at(error.errors()[0])}"
        ) from None


def member_of(plan: AlignmentPlan, key: SigningKey, folder: Path) -> str:
    """Return the name under which a plan has the owner of a key.

    Raises:
        InputError: It is no member's.
    """
    public = key.public.hex()
    for name, identity in zip(plan.members, plan.identities, strict=True):
        if identity == public:
            return name
    raise InputError(f"{folder}: the key is none of the members {', '.join(plan.members)}")


def write_plan(folder: Path, plan: AlignmentPlan) -> None:
    """Write the plan into an exchange folder.

    Raises:
        InputError: There is one already.
    """
    text = json.dumps(plan.model_dump(mode="json"), indent=1) + "\n"
    if not publish(folder / PLAN, text.encode()):
        raise InputError(f"{folder / PLAN} exists; an alignment has a folder of its own")


def publish(path: Path, content: bytes) -> bool:
    """Write a new file whole, and never over another; return False if there is one.

    Raises:
        InputError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.link(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    return True
