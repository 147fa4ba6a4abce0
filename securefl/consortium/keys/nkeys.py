"""Broker login keys: an Ed25519 key pair for each party in the nkey encoding of NATS.

On login, the client signs a challenge that the broker chooses, without a domain-separation label. A
malicious broker could send the bytes of another statement as a challenge. The identity key
therefore never signs one; a separate key for this single purpose is derived from it.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.signing import SigningKey

LABEL = b"securefl/1/broker user key"
_USER = 20 << 3
"""nkey prefix of a public user key; the text begins with U."""
_SEED = 18 << 3
"""nkey prefix of a seed; the text begins with S."""


class BrokerKey:
    """A party's broker login key; its `repr` shows the public key only.

    Attributes:
        public: The public key as in the broker's configuration, 56 characters beginning with U.
    """

    def __init__(self, identity: SigningKey) -> None:
        """Derive the key: HKDF-SHA256 of the identity key, bound to label and public key."""
        seed = derive_key(identity.secret(), label=LABEL, context=identity.public)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = encode_public(self._key.public_key().public_bytes_raw())

    def seed(self) -> str:
        """Return the private key as nkey seed, 58 characters beginning with SU, for `nats-py`.

        It grants login to the broker and nothing else. It must not be written to disk.
        """
        # Two prefixes of five bits each: that it is a seed, and of which kind of key.
        prefix = ((_SEED << 8) | (_USER << 3)).to_bytes(2, "big")
        return _encoded(prefix + self._key.private_bytes_raw())

    def __repr__(self) -> str:
        return f"BrokerKey(public={self.public})"


def encode_public(public: bytes) -> str:
    """Encode a public user key as nkey: base32 of prefix, key and CRC-16/XMODEM.

    Args:
        public: 32 bytes.
    """
    return _encoded(bytes([_USER]) + public)


def decode_public(text: str) -> bytes:
    """Decode a public user key to its 32 bytes.

    Raises:
        ValueError: If the text is not a public user key, or its checksum does not match.
    """
    try:
        content = base64.b32decode(text)
    except ValueError:
        content = b""
    # Re-encoding refuses a wrong checksum and a second spelling of one key alike.
    if len(content) != 35 or encode_public(content[1:33]) != text:
        raise ValueError("no public user key of NATS, or a character of it is wrong")
    return content[1:33]


def _encoded(content: bytes) -> str:
    check = binascii.crc_hqx(content, 0).to_bytes(2, "little")
    return base64.b32encode(content + check).decode().rstrip("=")
