"""Signatures: Ed25519 (RFC 8032) over a domain tag and a message."""

from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError

SIGNING_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def signed_bytes(domain: bytes, message: bytes) -> bytes:
    """Return what is signed: one byte with the length of the domain, the domain, the message.

    The length keeps a signature made in one domain from being valid in another.

    Raises:
        LocalProtocolError: The domain is empty or longer than 255 bytes.
    """
    if not 1 <= len(domain) <= 255:
        raise LocalProtocolError("a signature domain has 1 to 255 bytes")
    return len(domain).to_bytes(1, "big") + domain + message


class SigningKey:
    """An Ed25519 private key. Its `repr` shows the public key alone.

    Attributes:
        public: The 32 bytes of the public key.
    """

    def __init__(self, private: bytes) -> None:
        """Take the 32-byte seed of RFC 8032 section 5.1.5.

        Raises:
            LocalProtocolError: There are not 32 bytes.
        """
        if len(private) != SIGNING_KEY_BYTES:
            raise LocalProtocolError("an Ed25519 private key has 32 bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """Draw a new key from the caller's entropy."""
        return cls(draw(entropy, SIGNING_KEY_BYTES))

    def private_bytes(self) -> bytes:
        """Return the 32-byte seed, for the owner's encrypted key file."""
        return self._key.private_bytes_raw()

    @classmethod
    def of(cls, identity: "bytes | SigningKey") -> "SigningKey":
        """Return a key itself, or the key of a seed."""
        return identity if isinstance(identity, SigningKey) else SigningKey(identity)

    def secret(self) -> bytes:
        """Return 32 bytes that the owner alone can compute, to derive keys for other purposes."""
        return self.private_bytes()

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Return the 64-byte signature of the message in the domain."""
        return self._key.sign(signed_bytes(domain, message))

    def sign_plain(self, message: bytes) -> bytes:
        """Return the 64-byte signature of bytes whose format has its own domain separation.

        For notes of C2SP alone. Such a text cannot be taken for a message of this project: that
        begins with the length of its domain, 1 to 255, and the domain `securefl/…`, and a note with
        the name of a log or with `cosignature/v1`.
        """
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"


def verify(
    public: bytes, signature: bytes, domain: bytes, message: bytes, *, peer: int | None = None
) -> None:
    """Check a signature against a pinned public key.

    Args:
        public: 32 bytes of the signer's public key.
        signature: 64 bytes.
        domain: The tag of the domain that the message belongs to.
        message: The message.
        peer: Index of the signer, for the error.

    Raises:
        RemoteProtocolError: The key is no Ed25519 key or the signature does not fit.
    """
    verify_plain(public, signature, signed_bytes(domain, message), peer=peer)


def verify_plain(
    public: bytes, signature: bytes, message: bytes, *, peer: int | None = None
) -> None:
    """Check a signature of `SigningKey.sign_plain`.

    Raises:
        RemoteProtocolError: The key is no Ed25519 key or the signature does not fit.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise RemoteProtocolError("the signature does not fit the message", peer) from error
