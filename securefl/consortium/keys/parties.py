"""Parties and their public key bundles, which are signed with the identity key in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from securefl.config.base import Settings
from securefl.config.data import MemberName
from securefl.consortium.encoding.fingerprints import fingerprint
from securefl.consortium.encoding.jcs import Hex32, Hex64, canonical_bytes
from securefl.consortium.encoding.parsing import parsed
from securefl.consortium.keys.nkeys import BrokerKey, decode_public
from securefl.errors import AgreementError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.primitives.x25519 import check_public_key
from securefl_protocols.wire.context import labelled_digest

LABEL = b"securefl/1/party"
_PRIME = (1 << 255) - 19


def _safe_point(text: str) -> str:
    """Refuse low-order Ed25519 keys, and non-canonical encodings of a key.

    Under a key of low order, one signature is valid for nearly every message, so that no private
    key is needed. Such a point maps to a low-order point of X25519 by u = (1 + y) / (1 - y)
    (RFC 7748 section 4.1), which `check_public_key` refuses.
    """
    y = int.from_bytes(bytes.fromhex(text), "little") & ((1 << 255) - 1)
    if y >= _PRIME or y in {1, _PRIME - 1}:
        raise ValueError("is no safe Ed25519 key")
    u = (1 + y) * pow(1 - y, -1, _PRIME) % _PRIME
    try:
        check_public_key(u.to_bytes(32, "little"), peer=0)
    except RemoteProtocolError:
        raise ValueError("is no safe Ed25519 key") from None
    return text


def _valid_user(text: str) -> str:
    decode_public(text)
    return text


IdentityHex = Annotated[Hex32, AfterValidator(_safe_point)]
BrokerUser = Annotated[str, Field(strict=True), AfterValidator(_valid_user)]


class Party(Settings):
    """A member or the coordinator.

    Attributes:
        name: Letters, digits, dots, hyphens and underscores of ASCII.
        identity: Public Ed25519 key, hex; signs agreements, ledgers and messages.
        broker: Public broker login key, as NATS nkey.
    """

    name: MemberName
    identity: IdentityHex
    broker: BrokerUser

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of name and both keys, for comparison by phone."""
        return fingerprint(labelled_digest(LABEL, self.content()))

    @property
    def public(self) -> bytes:
        """Return the public identity key, 32 bytes."""
        return bytes.fromhex(self.identity)

    def content(self) -> bytes:
        """Return the RFC 8785 bytes over which the key bundle is signed."""
        return canonical_bytes({name: getattr(self, name) for name in Party.model_fields})


class KeyBundle(Party):
    """A party's public keys, self-signed as proof that it holds the private key.

    Without that proof, a member could register the public key of another party as its own.
    """

    signature: Hex64

    def party(self) -> Party:
        """Return the party, after verifying the signature.

        Raises:
            AgreementError: If the signature is invalid.
        """
        try:
            verify(self.public, bytes.fromhex(self.signature), LABEL, self.content())
        except RemoteProtocolError:
            raise AgreementError(
                f"the card of {self.name} was changed: its signature does not fit"
            ) from None
        return Party.model_validate(self.model_dump(exclude={"signature"}))


def party_of(name: str, key: SigningKey) -> Party:
    """Return the party with a given identity key.

    Raises:
        AgreementError: If the name is not allowed.
    """
    tree = {"name": name, "identity": key.public.hex(), "broker": BrokerKey(key).public}
    return parsed(Party, tree, name)


def key_bundle_of(name: str, key: SigningKey) -> KeyBundle:
    """Return the signed public key bundle of a party.

    Raises:
        AgreementError: If the name is not allowed.
    """
    party = party_of(name, key)
    signature = key.sign(LABEL, party.content()).hex()
    return KeyBundle(**party.model_dump(), signature=signature)
