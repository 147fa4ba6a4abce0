"""Key agreement: X25519 (RFC 7748)."""

from typing import Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError

EXCHANGE_KEY_BYTES = 32
_PRIME = (1 << 255) - 19


class ExchangeKey:
    """An X25519 private key. Its `repr` shows the public key alone.

    Attributes:
        public: The 32 bytes of the public key.
    """

    def __init__(self, private: bytes) -> None:
        """Take 32 private bytes; RFC 7748 section 5 clamps them when they are used.

        Raises:
            LocalProtocolError: There are not 32 bytes.
        """
        if len(private) != EXCHANGE_KEY_BYTES:
            raise LocalProtocolError("an X25519 private key has 32 bytes")
        self._private = bytes(private)
        self._key = X25519PrivateKey.from_private_bytes(self._private)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """Draw a new key from the caller's entropy."""
        return cls(draw(entropy, EXCHANGE_KEY_BYTES))

    def private_bytes(self) -> bytes:
        """Return the 32 private bytes, to be split into shares."""
        return self._private

    def shared_secret(self, peer_public: bytes, *, peer: int | None = None) -> bytes:
        """Return the 32-byte shared secret (RFC 7748 section 6.1); derive keys from it.

        Args:
            peer_public: The peer's 32 public bytes.
            peer: Index of the peer, for the error.

        Raises:
            RemoteProtocolError: The key has another length, is not written in the one way
                that `ExchangeKey` writes it, or is a point of low order, with which the secret
                would be all zero and known to everybody.
        """
        if len(peer_public) != EXCHANGE_KEY_BYTES:
            raise RemoteProtocolError("an X25519 public key has 32 bytes", peer)
        # RFC 7748 section 5 ignores the top bit and reduces: the copy of another member's key
        # could be written otherwise, and would pass for a new one.
        if int.from_bytes(peer_public, "little") >= _PRIME:
            raise RemoteProtocolError("the public key is not below 2^255 - 19", peer)
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError as error:
            raise RemoteProtocolError("the public key is a point of low order", peer) from error

    def __repr__(self) -> str:
        return f"ExchangeKey(public={self.public.hex()})"


_PROBE = ExchangeKey(bytes(31) + b"\x40")
"""A key that is nobody's: any agreement with a point of low order fails."""


def check_public_key(public: bytes, *, peer: int) -> None:
    """Check that everybody can agree with the owner of a key.

    Args:
        public: The 32 public bytes.
        peer: Index of the owner, for the error.

    Raises:
        RemoteProtocolError: As in `ExchangeKey.shared_secret`.
    """
    _PROBE.shared_secret(public, peer=peer)
