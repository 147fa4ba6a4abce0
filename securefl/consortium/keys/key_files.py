"""Key files: created with mode 0600, and refused if readable by other users."""

from __future__ import annotations

import codecs
import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from securefl.consortium.keys.pkcs8 import KeyTextError, clear_pem, ed25519, encrypted_pem, read_pem
from securefl.errors import KeyFileError
from securefl.untrusted.ownership import (
    OWNER_ONLY,
    WITHOUT_WAITING,
    is_foreign,
    is_open_to_others,
    is_own,
    keep_to_owner,
    own_groups,
)
from securefl_protocols.primitives.signing import SigningKey

SHORTEST_PASSPHRASE = 12
"""Bytes; scrypt slows guessing down, but cannot make up for a short passphrase."""
_LARGEST_SECRET = 1 << 16
"""Bytes that are read of a file at most."""


def generate_key() -> SigningKey:
    """Generate an identity key from the operating system's randomness."""
    return SigningKey.generate(os.urandom)


def write_key(path: Path, key: SigningKey, passphrase: bytes) -> None:
    """Write an identity key under a passphrase to a new file of mode 0600.

    Raises:
        KeyFileError: If the file exists or cannot be written, or the passphrase is too short.
    """
    check_passphrase(passphrase)
    write_secret(path, encrypted_pem(_private(key), passphrase, os.urandom))


def write_clear_key(path: Path, key: SigningKey) -> None:
    """Write an unencrypted identity key, mode 0600, for simulations on one machine.

    Raises:
        KeyFileError: If the file exists or cannot be written.
    """
    write_secret(path, clear_pem(_private(key)))


def read_key(path: Path, passphrase: bytes | None = None) -> SigningKey:
    """Read the identity key in a file.

    Args:
        path: The file.
        passphrase: Its passphrase; None where it is not encrypted.

    Raises:
        KeyFileError: If it cannot be read, other users can read it, or the passphrase is wrong.
    """
    text = read_secret(path)
    try:
        return SigningKey(ed25519(read_pem(text, passphrase)))
    except KeyTextError as error:
        raise KeyFileError(f"{path} {error}") from None


def needs_passphrase(path: Path) -> bool:
    """Return whether the key in a file is encrypted.

    Raises:
        KeyFileError: If it cannot be read, or other users can read it.
    """
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in read_secret(path)


def check_passphrase(passphrase: bytes) -> None:
    """Refuse passphrases that are short enough for an exhaustive search.

    Raises:
        KeyFileError: If it has fewer than 12 bytes.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise KeyFileError(f"a passphrase has at least {SHORTEST_PASSPHRASE} characters")


def read_passphrase(path: Path) -> bytes:
    """Read a passphrase: the first line of a file that only its owner can read.

    Raises:
        KeyFileError: If it cannot be read, other users can read it, or the line is empty.
    """
    text = read_secret(path).removeprefix(codecs.BOM_UTF8)  # some editors write it
    line = text.split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise KeyFileError(f"{path} begins with an empty line and not with a passphrase")
    return line


def read_secret(path: Path) -> bytes:
    """Read a small file that only its owner can read.

    Owner and mode are checked on the open file descriptor, so that the file cannot be exchanged
    between check and use.

    Raises:
        KeyFileError: If it cannot be read, is not a regular file, or other users can read it.
    """
    try:
        with os.fdopen(os.open(path, WITHOUT_WAITING), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise KeyFileError(f"{path} is not a plain file")
            if is_foreign(state):
                raise KeyFileError(f"{path} belongs to another user")
            if is_open_to_others(state) and not delivered(path, state):
                raise KeyFileError(f"{path} can be read by others; {_advice(path, state)}")
            return file.read(_LARGEST_SECRET)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from None


def _advice(path: Path, state: os.stat_result) -> str:
    """Return what the reader of an error can do; the mode of root's file is not theirs."""
    if is_own(state):
        return f"fix it with: chmod 600 {path}"
    return "have it delivered with mode 0440, for a group of this process"


def delivered(path: Path, state: os.stat_result) -> bool:
    """Return whether a file is a secret as service managers deliver them, which are read-only.

    Kubernetes (`fsGroup`) makes them root's and readable by a group of the process; systemd
    (`LoadCredential`) the same, in the folder that it names; Docker Swarm makes them readable by
    all, in `/run/secrets`, which exists inside of the container alone.

    Args:
        path: Where the file is.
        state: Its state, from an open descriptor.
    """
    if state.st_uid != 0 or state.st_mode & 0o222:
        return False
    folders = {Path("/run/secrets"), Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/secrets"))}
    if any(path.resolve().is_relative_to(folder) for folder in folders):
        return True
    return not state.st_mode & 0o037 and state.st_gid in own_groups()


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600, atomically and never over an existing one.

    Raises:
        KeyFileError: If the file exists or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(os.open(temporary, flags, OWNER_ONLY), "wb") as file:
                keep_to_owner(temporary)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # A link fails where the target exists; a rename would replace it, and with it a key.
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from None


def _private(key: SigningKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.private_bytes())
