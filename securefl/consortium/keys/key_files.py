"""Key files: created for their owner alone, refused if anybody else can read them."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from securefl.consortium.keys.pkcs8 import KeyTextError, clear_pem, ed25519, encrypted_pem, read_pem
from securefl.errors import KeyFileError
from securefl_protocols.primitives.signing import SigningKey

OWNER_ONLY = 0o600
SHORTEST_PASSPHRASE = 12
_LARGEST_SECRET = 1 << 16


def generate_key() -> SigningKey:
    """A new identity key from the operating system's randomness."""
    return SigningKey.generate(os.urandom)


def write_key(path: Path, key: SigningKey, passphrase: bytes) -> None:
    """Write an identity key under a passphrase to a new file of mode 0600.

    Raises:
        KeyFileError: If the file exists or cannot be written, or the passphrase is short.
    """
    check_passphrase(passphrase)
    write_secret(path, encrypted_pem(_private(key), passphrase, os.urandom))


def write_clear_key(path: Path, key: SigningKey) -> None:
    """Write an identity key in the clear, mode 0600: for runs in which one machine is everybody.

    Raises:
        KeyFileError: If the file exists or cannot be written.
    """
    write_secret(path, clear_pem(_private(key)))


def read_key(path: Path, passphrase: bytes | None = None) -> SigningKey:
    """The identity key in a file.

    Args:
        path: The file.
        passphrase: Its passphrase, or None where it is in the clear.

    Raises:
        KeyFileError: If it cannot be read, somebody else can read it, or the passphrase is wrong.
    """
    text = read_secret(path)
    try:
        return SigningKey(ed25519(read_pem(text, passphrase)))
    except KeyTextError as error:
        raise KeyFileError(f"{path} {error}") from None


def needs_passphrase(path: Path) -> bool:
    """Whether the key in a file is encrypted.

    Raises:
        KeyFileError: If it cannot be read, or somebody else can read it.
    """
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in read_secret(path)


def check_passphrase(passphrase: bytes) -> None:
    """Refuses passphrases that are searched in no time.

    Raises:
        KeyFileError: If there are fewer than 12 bytes.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise KeyFileError(f"a passphrase has at least {SHORTEST_PASSPHRASE} characters")


def read_passphrase(path: Path) -> bytes:
    """The first line of a file that nobody else can read.

    Raises:
        KeyFileError: If it cannot be read, somebody else can read it, or it is empty.
    """
    line = read_secret(path).split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise KeyFileError(f"{path} begins with an empty line and not with a passphrase")
    return line


def read_secret(path: Path) -> bytes:
    """A small file that only its owner can read.

    Owner and mode are those of the open file, so that it cannot be exchanged in between.

    Raises:
        KeyFileError: If it cannot be read, is not a plain file, or is open to others.
    """
    try:
        # Opening a pipe would wait for somebody to write into it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise KeyFileError(f"{path} is not a plain file")
            if state.st_mode & 0o077:
                raise KeyFileError(f"{path} can be read by others; mend it with: chmod 600 {path}")
            if state.st_uid not in {0, os.geteuid()}:
                raise KeyFileError(f"{path} belongs to another user")
            return file.read(_LARGEST_SECRET)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from None


def write_secret(path: Path, content: bytes) -> None:
    """A new file of mode 0600: whole or not at all, and never over another.

    Raises:
        KeyFileError: If the file exists or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(os.open(temporary, flags, OWNER_ONLY), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from None


def _private(key: SigningKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.private_bytes())
