"""What changes a single key after an agreement was signed, without anybody signing it again.

A rotation is signed by the old key and, through the card, by the new one. A revocation is signed by
the others, because the key may be lost, or in the wrong hands. Both name the state that they follow
on, so that no statement is valid twice, in another order, or in another agreement.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from securefl.config.base import Settings
from securefl.config.data import MemberName
from securefl.consortium.encoding.jcs import Hex32, Hex64, canonical_bytes
from securefl.consortium.keys.parties import IdentityHex, KeyBundle
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.wire.context import labelled_digest

STATEMENT_LABEL = b"securefl/1/statement"
STATE_LABEL = b"securefl/1/agreement-state"


class Rotation(Settings):
    """A member replaces its own key.

    Attributes:
        previous: Digest of the state that this follows on.
        card: The member with its new key; the name is the one it has.
    """

    kind: Literal["rotation"] = "rotation"
    previous: Hex32
    card: KeyBundle

    @property
    def member(self) -> str:
        """Whose key changes."""
        return self.card.name


class Revocation(Settings):
    """The others declare a member's key void.

    Attributes:
        previous: Digest of the state that this follows on.
        member: Whose key is void.
        identity: The key.
        card: The member with a new key, if it stays.
    """

    kind: Literal["revocation"] = "revocation"
    previous: Hex32
    member: MemberName
    identity: IdentityHex
    card: KeyBundle | None = None


Statement = Annotated[Rotation | Revocation, Field(discriminator="kind")]


class SignedStatement(Settings):
    """A statement with signatures over it, by name of the signer."""

    statement: Statement
    signatures: dict[MemberName, Hex64]


def statement_bytes(statement: Rotation | Revocation) -> bytes:
    """What is signed: RFC 8785."""
    return canonical_bytes(statement.model_dump(mode="json", exclude_none=True))


def sign_statement(statement: Rotation | Revocation, key: SigningKey) -> str:
    """A member's signature, hex."""
    return key.sign(STATEMENT_LABEL, statement_bytes(statement)).hex()


def apply_key_changes(statement: Rotation | Revocation) -> bytes:
    """32 bytes that stand for the agreement with all statements up to this one."""
    return labelled_digest(STATE_LABEL, statement_bytes(statement))
