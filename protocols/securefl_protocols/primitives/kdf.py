"""Key derivation: HKDF-SHA256 (RFC 5869) with a label and a context in every `info`."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from securefl_protocols.primitives.errors import LocalProtocolError


def index_bytes(member: int) -> bytes:
    """Return the index of a member, or the number of a round, in four big-endian bytes."""
    return member.to_bytes(4, "big")


KEY_BYTES = 32
_MAX_FIELD = 0xFFFF
_MAX_OUTPUT = 255 * 32


def key_info(label: bytes, context: bytes) -> bytes:
    """Return the HKDF `info`: each field behind its length in two big-endian bytes.

    Without the lengths, (b"ab", b"c") and (b"a", b"bc") would derive the same key.

    Raises:
        LocalProtocolError: The label is empty, or a field is longer than 65535 bytes.
    """
    if not label:
        raise LocalProtocolError("a derived key needs a label")
    if max(len(label), len(context)) > _MAX_FIELD:
        raise LocalProtocolError("label and context have at most 65535 bytes each")
    return b"".join(len(field).to_bytes(2, "big") + field for field in (label, context))


def derive_key(secret: bytes, *, label: bytes, context: bytes, length: int = KEY_BYTES) -> bytes:
    """Derive a key from a secret: HKDF-SHA256, RFC 5869 section 2, with no salt.

    Args:
        secret: Input key material, at least 32 bytes.
        label: What the key is for; two uses never share a label.
        context: What the key is bound to: the session, the round, the pair.
        length: Bytes to return, 1 to 8160.

    Raises:
        LocalProtocolError: The secret is short, the label empty or the length out of range.
    """
    if len(secret) < KEY_BYTES:
        raise LocalProtocolError("a key is derived from at least 32 secret bytes")
    if not 1 <= length <= _MAX_OUTPUT:
        raise LocalProtocolError("HKDF-SHA256 gives 1 to 8160 bytes")
    hkdf = HKDF(algorithm=SHA256(), length=length, salt=None, info=key_info(label, context))
    return hkdf.derive(secret)
