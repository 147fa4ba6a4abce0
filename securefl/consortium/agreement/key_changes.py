"""Key rotation and revocation statements, which change one key of an agreement already in force.

The agreement itself is not signed again. A rotation is signed by the old key and, through the key
bundle, by the new one. A revocation is signed by the other members, because the key may be lost or
stolen. Both name the state that they follow on, so that no statement is valid twice, in another
order, or in another agreement.
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
    """Statement of a member that replaces its own key.

    Attributes:
        previous: Digest of the state that this follows on.
        card: Key bundle with the new key; the name stays the same.
    """

    kind: Literal["rotation"] = "rotation"
    previous: Hex32
    card: KeyBundle

    @property
    def member(self) -> str:
        """Return the name of the member whose key changes."""
        return self.card.name


class Revocation(Settings):
    """Statement of the other members that a member's key is void.

    Attributes:
        previous: Digest of the state that this follows on.
        member: The member whose key is void.
        identity: The void key; named, so that a revocation cannot hit a key rotated in meanwhile.
        card: Key bundle with a new key, if the member stays.
    """

    kind: Literal["revocation"] = "revocation"
    previous: Hex32
    member: MemberName
    identity: IdentityHex
    card: KeyBundle | None = None


Statement = Annotated[Rotation | Revocation, Field(discriminator="kind")]


class SignedStatement(Settings):
    """A statement with its signatures, by name of the signer."""

    statement: Statement
    signatures: dict[MemberName, Hex64]


def statement_bytes(statement: Rotation | Revocation) -> bytes:
    """Return the RFC 8785 bytes of a statement, over which it is signed."""
    return canonical_bytes(statement.model_dump(mode="json", exclude_none=True))


def sign_statement(statement: Rotation | Revocation, key: SigningKey) -> str:
    """Return a member's Ed25519 signature over a statement, hex."""
    return key.sign(STATEMENT_LABEL, statement_bytes(statement)).hex()


def apply_key_changes(statement: Rotation | Revocation) -> bytes:
    """Return the 32-byte digest of the agreement's state after a statement.

    The statement names the state before it, so the digest covers the whole chain of statements.
    """
    return labelled_digest(STATE_LABEL, statement_bytes(statement))
