"""Encrypted private keys: PKCS#8 (RFC 5958) with PBES2, scrypt and AES-256-CBC.

The `cryptography` package writes PKCS#8 with 2,048 rounds of PBKDF2 and no option for more; a GPU
tries millions of passphrases a second against that. RFC 7914 section 7 defines the same container
with scrypt, which `openssl pkey` and the package itself can read.
"""

from __future__ import annotations

import base64
import math
import re
import textwrap

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from securefl_protocols.primitives.entropy import Entropy, draw

COST, BLOCKS, LANES = 1 << 14, 8, 5
"""scrypt's N, r and p: 16 MiB and about 0.2 s a guess. OpenSSL refuses to read more memory."""
_MOST_WORK = {
    bytes.fromhex("06092b06010401da47040b"): (3, 1 << 22),  # scrypt: N r p; ours is 655,360
    bytes.fromhex("06092a864886f70d01050c"): (1, 10_000_000),  # PBKDF2: rounds
}
"""By key derivation: how many parameters make up its cost, and the largest accepted product.

The limits allow seconds and half a gigabyte. OpenSSL sets none: a file with one flipped bit took
16 gigabytes and 90 seconds."""
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04
_BODY = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----(.*?)-----END", re.DOTALL)


class KeyTextError(ValueError):
    """Raised if a private key cannot be read; the message never contains key material."""


def encrypted_pem(key: PrivateKeyTypes, passphrase: bytes, entropy: Entropy) -> bytes:
    """Encrypt a private key under a passphrase, as PEM.

    Args:
        key: The key.
        passphrase: At least one byte.
        entropy: Source of the salt and the initialisation vector.
    """
    salt, iv = draw(entropy, 16), draw(entropy, 16)
    wrapping = Scrypt(salt=salt, length=32, n=COST, r=BLOCKS, p=LANES).derive(passphrase)
    padder = PKCS7(128).padder()
    clear = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    cipher = Cipher(algorithms.AES256(wrapping), modes.CBC(iv)).encryptor()
    sealed = cipher.update(padder.update(clear) + padder.finalize()) + cipher.finalize()
    return _pem(_structure(salt, iv, sealed))


def clear_pem(key: PrivateKeyTypes) -> bytes:
    """Return a private key as unencrypted PEM, for simulations on one machine."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_pem(text: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    """Read any PKCS#8 private key.

    Raises:
        KeyTextError: If it is not a private key, the passphrase is missing, unneeded or wrong, or
            the key derivation would exceed the accepted cost.
    """
    if passphrase is not None and _too_costly(text):
        raise KeyTextError("asks for more work than any honest key file")
    try:
        return load_pem_private_key(text, passphrase)
    except TypeError:
        # The library treats an empty passphrase as none, and raises TypeError for both mismatches.
        wanted = "is not encrypted" if passphrase else "is encrypted and needs a passphrase"
        raise KeyTextError(wanted) from None
    except (ValueError, UnsupportedAlgorithm, InternalError):
        encrypted = passphrase is not None and b"BEGIN ENCRYPTED PRIVATE KEY" in text
        why = "does not open: wrong passphrase, or damaged" if encrypted else "is no private key"
        raise KeyTextError(why) from None


def ed25519(key: PrivateKeyTypes) -> bytes:
    """Return the 32-byte seed of an Ed25519 key.

    Raises:
        KeyTextError: If it is a key of another kind.
    """
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyTextError("is no Ed25519 key")
    return key.private_bytes_raw()


def _too_costly(text: bytes) -> bool:
    """Return whether deriving the key would exceed the cost that `_MOST_WORK` accepts.

    A structure that this parser cannot read is refused by the library, so it counts as cheap.
    """
    for body in _BODY.findall(text):
        content = base64.b64decode(body + b"===")
        for name, (count, most) in _MOST_WORK.items():
            _, found, parameters = content.partition(name)
            if found and math.prod(_costs(parameters)[:count]) > most:
                return True
    return False


def _costs(parameters: bytes) -> list[int]:
    """Return the integers after the salt in SEQUENCE { salt OCTET STRING, cost INTEGER, ... }."""
    costs: list[int] = []
    _, rest, _ = _first(parameters)
    _, _, rest = _first(rest)
    tag, number, rest = _first(rest)
    while tag == _INTEGER:
        costs.append(int.from_bytes(number, "big"))
        tag, number, rest = _first(rest)
    return costs


def _first(content: bytes) -> tuple[int, bytes, bytes]:
    """Split off the first element (X.690 section 8.1): tag, content, rest; tag 0 at the end."""
    if len(content) < 2:
        return 0, b"", b""
    tag, size, start = content[0], content[1], 2
    if size >= 0x80:
        start += size & 0x7F
        size = int.from_bytes(content[2:start], "big")
    return tag, content[start : start + size], content[start + size :]


def _structure(salt: bytes, iv: bytes, sealed: bytes) -> bytes:
    """Return EncryptedPrivateKeyInfo (RFC 5958 section 3) with parameters of RFC 7914 section 7."""
    numbers = b"".join(_integer(number) for number in (COST, BLOCKS, LANES, 32))
    derivation = _der(_SEQUENCE, _SCRYPT + _der(_SEQUENCE, _der(_OCTETS, salt) + numbers))
    encryption = _der(_SEQUENCE, _AES_256_CBC + _der(_OCTETS, iv))
    scheme = _der(_SEQUENCE, _PBES2 + _der(_SEQUENCE, derivation + encryption))
    return _der(_SEQUENCE, scheme + _der(_OCTETS, sealed))


def _integer(number: int) -> bytes:
    # One byte more than the bits need: DER integers are signed, and a leading 1 means negative.
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    """Encode tag, length and content (X.690 section 8.1)."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _pem(structure: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(structure).decode(), 64)
    name = "ENCRYPTED PRIVATE KEY"
    return "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""]).encode()
