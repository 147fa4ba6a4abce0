"""The key with which a party logs in to the broker: an Ed25519 key of its own, in NATS's spelling.

The broker lets the client sign a challenge of the broker's choosing, without a label. The identity
key never signs such a thing: the broker's key is derived from it, for this one use.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.signing import SigningKey

LABEL = b"securefl/1/broker user key"
_USER = 20 << 3
"""What makes NATS's public user keys begin with U."""
_SEED = 18 << 3
"""And seeds with S."""


class BrokerKey:
    """A party's key to the broker. Its `repr` shows the public key alone.

    Attributes:
        public: The public key as the broker's configuration names it, 56 characters from U on.
    """

    def __init__(self, identity: SigningKey) -> None:
        """Derives the key: HKDF-SHA256 of the identity key, bound to label and public key."""
        seed = derive_key(identity.private_bytes(), label=LABEL, context=identity.public)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = encode_public(self._key.public_key().public_bytes_raw())

    def seed(self) -> str:
        """The private key in NATS's spelling, 58 characters from SU on, for `nats-py` to sign with.

        It opens the broker and nothing else; not to be written anywhere.
        """
        # Two prefixes of five bits, what follows is a seed and whose: seed << 8 | user << 3.
        prefix = ((_SEED << 8) | (_USER << 3)).to_bytes(2, "big")
        return _spelled(prefix + self._key.private_bytes_raw())

    def __repr__(self) -> str:
        return f"BrokerKey(public={self.public})"


def encode_public(public: bytes) -> str:
    """NATS's spelling of a public user key: base32 of prefix, key and CRC-16/XMODEM.

    Args:
        public: 32 bytes.
    """
    return _spelled(bytes([_USER]) + public)


def decode_public(text: str) -> bytes:
    """The 32 bytes of a public user key.

    Raises:
        ValueError: If the text is no such key, or a character of it is wrong.
    """
    try:
        content = base64.b32decode(text)
    except ValueError:
        content = b""
    if len(content) != 35 or encode_public(content[1:33]) != text:
        raise ValueError("no public user key of NATS, or a character of it is wrong")
    return content[1:33]


def _spelled(content: bytes) -> str:
    check = binascii.crc_hqx(content, 0).to_bytes(2, "little")
    return base64.b32encode(content + check).decode().rstrip("=")
