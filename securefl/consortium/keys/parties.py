"""A party and its card: the public keys that it hands out, signed with its identity key."""

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


def _known_point(text: str) -> str:
    """Refuses keys under which anybody can sign, and second spellings of one key.

    With a key of low order a signature fits nearly every message. Such a point maps to one of
    X25519's (u = (1 + y) / (1 - y), RFC 7748 section 4.1), for which there is a check.
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


def _known_user(text: str) -> str:
    decode_public(text)
    return text


IdentityHex = Annotated[Hex32, AfterValidator(_known_point)]
BrokerUser = Annotated[str, Field(strict=True), AfterValidator(_known_user)]


class Party(Settings):
    """A member or the coordinator.

    Attributes:
        name: What it is called: letters, digits, dots, hyphens and underscores of ASCII.
        identity: Public Ed25519 key, hex; signs agreements, ledgers and messages.
        broker: Public key with which it logs in to the broker, in NATS's spelling.
    """

    name: MemberName
    identity: IdentityHex
    broker: BrokerUser

    @property
    def fingerprint(self) -> str:
        """What two people compare by phone; stands for name and both keys."""
        return fingerprint(labelled_digest(LABEL, self.content()))

    @property
    def public(self) -> bytes:
        """The identity key, 32 bytes."""
        return bytes.fromhex(self.identity)

    def content(self) -> bytes:
        """What the party's card is signed over."""
        return canonical_bytes({name: getattr(self, name) for name in Party.model_fields})


class KeyBundle(Party):
    """A party, signed with its own key: who hands it out has that key.

    Nobody can therefore be entered with the key of somebody else.
    """

    signature: Hex64

    def party(self) -> Party:
        """The party, if the card's signature fits.

        Raises:
            AgreementError: If it does not.
        """
        try:
            verify(self.public, bytes.fromhex(self.signature), LABEL, self.content())
        except RemoteProtocolError:
            raise AgreementError(
                f"the card of {self.name} was changed: its signature does not fit"
            ) from None
        return Party.model_validate(self.model_dump(exclude={"signature"}))


def party_of(name: str, key: SigningKey) -> Party:
    """The party that holds an identity key.

    Raises:
        AgreementError: If the name is not allowed.
    """
    tree = {"name": name, "identity": key.public.hex(), "broker": BrokerKey(key).public}
    return parsed(Party, tree, name)


def key_bundle_of(name: str, key: SigningKey) -> KeyBundle:
    """The card of the holder of an identity key.

    Raises:
        AgreementError: If the name is not allowed.
    """
    party = party_of(name, key)
    signature = key.sign(LABEL, party.content()).hex()
    return KeyBundle(**party.model_dump(), signature=signature)
