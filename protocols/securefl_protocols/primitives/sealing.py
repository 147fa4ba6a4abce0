"""Sealing: AES-256-GCM (NIST SP 800-38D) with a 12-byte nonce and a 16-byte tag."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError

SEAL_KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


def _cipher(key: bytes, nonce: bytes) -> AESGCM:
    if len(key) != SEAL_KEY_BYTES:
        raise LocalProtocolError("a sealing key has 32 bytes")
    if len(nonce) != NONCE_BYTES:
        raise LocalProtocolError("a nonce has 12 bytes")
    return AESGCM(key)


def seal(key: bytes, plaintext: bytes, associated_data: bytes, nonce: bytes) -> bytes:
    """Encrypt and authenticates; returns the ciphertext with its tag behind it.

    Args:
        key: 32 bytes.
        plaintext: What only the holder of the key may read.
        associated_data: What the box is bound to: session, sender, receiver.
        nonce: 12 bytes that were never used with this key before.

    Raises:
        LocalProtocolError: The key or the nonce has another length.
    """
    return _cipher(key, nonce).encrypt(nonce, plaintext, associated_data)


def unseal(
    key: bytes,
    sealed: bytes,
    associated_data: bytes,
    nonce: bytes,
    *,
    peer: int | None = None,
) -> bytes:
    """Open what `seal` closed.

    Args:
        key: 32 bytes.
        sealed: Ciphertext with its tag.
        associated_data: As given to `seal`.
        nonce: As given to `seal`.
        peer: Index of the sender, for the error.

    Raises:
        LocalProtocolError: The key or the nonce has another length.
        RemoteProtocolError: Anything was changed, or the box is for somebody else.
    """
    cipher = _cipher(key, nonce)
    try:
        return cipher.decrypt(nonce, sealed, associated_data)
    except InvalidTag as error:
        raise RemoteProtocolError("the sealed box cannot be opened", peer) from error
