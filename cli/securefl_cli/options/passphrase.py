"""Passphrases from a file, the environment, or the keyboard.

Never from an argument: those are visible to other users of the machine and stay in histories.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from securefl.errors import KeyFileError

if TYPE_CHECKING:
    from securefl_protocols.primitives.signing import SigningKey

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
VARIABLE = "SECUREFL_PASSPHRASE"
_held: list[str] = []


@contextmanager
def out_of_environment() -> Iterator[None]:
    """Keep the passphrase out of the environment while a command runs: children inherit it."""
    given = os.environ.pop(VARIABLE, None)
    _held[:] = [] if given is None else [given]
    try:
        yield
    finally:
        _held.clear()
        if given is not None:
            os.environ[VARIABLE] = given


def passphrase_option(command: CommandT) -> CommandT:
    """Add the option of the file with a key's passphrase."""
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"First line is the key's passphrase; else ${VARIABLE}, else it is asked for.",
    )(command)


def key_option(command: CommandT) -> CommandT:
    """Add the option of the party's own key."""
    return click.option(
        "--key",
        required=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Your key, as made by securefl keygen; or the pkcs11: URI of one in a token.",
    )(command)


def passphrase(file: Path | None, question: str, *, twice: bool = False) -> bytes:
    """Return the passphrase for a key.

    Args:
        file: The file with it, if one was named.
        question: The prompt on a terminal.
        twice: Ask twice, where a typing error would lock the key for good.

    Raises:
        KeyFileError: If there is none, or the file cannot be used.
    """
    from securefl.consortium.keys.key_files import read_passphrase

    if file is not None:
        return read_passphrase(file)
    given = _held[0] if _held else os.environ.get(VARIABLE)
    if given:
        return given.encode()
    if not sys.stdin.isatty():
        raise KeyFileError(
            f"no terminal to ask for a passphrase; use --passphrase-file or ${VARIABLE}"
        )
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=twice, err=True)
    return answer.encode()


def unlocked(path: Path, file: Path | None) -> SigningKey:
    """Return the identity key in a file; ask for its passphrase if it has one.

    Raises:
        KeyFileError: If the key cannot be used.
    """
    from securefl.consortium.keys.key_files import needs_passphrase, read_key
    from securefl.consortium.keys.token_keys import SCHEME, open_token_key

    if str(path).startswith(SCHEME):
        return open_token_key(str(path), passphrase(file, f"PIN for {path}"))
    secret = passphrase(file, f"Passphrase of {path}") if needs_passphrase(path) else None
    return read_key(path, secret)
