"""Identity keys in a token with PKCS #11: they sign inside of it, and never leave it.

A token is named by a URI of RFC 7512: `pkcs11:token=NAME;object=LABEL?module-path=LIBRARY`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from securefl.errors import KeyFileError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.signing import SigningKey, signed_bytes, verify_plain

SCHEME: Final = "pkcs11:"
DOMAIN: Final = b"securefl/1/token secret"
"""Of the one signature that is never shown: what else a party needs is derived from it."""
_CURVE: Final = bytes.fromhex("06032b6570")
"""DER of 1.3.101.112, Ed25519 (RFC 8410, section 3)."""
_POINT: Final = bytes.fromhex("0420")
"""DER of an octet string of 32 bytes, in which PKCS #11 wraps a public key (v3.0, 2.3.5)."""


@dataclass(frozen=True)
class TokenPlace:
    """Where a key is.

    Attributes:
        module: The library of the token's maker.
        token: Label of the token.
        label: Label of the key pair.
    """

    module: str
    token: str
    label: str


def place_of(uri: str) -> TokenPlace:
    """Return what a URI names.

    Raises:
        KeyFileError: If it is no such URI, or has an attribute that is not known.
    """
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    found = {}
    for part in filter(None, path.split(";")):
        name, _, value = part.partition("=")
        found[name] = unquote(value)
    found |= dict(parse_qsl(query))
    if not uri.startswith(SCHEME) or found.keys() != {"token", "object", "module-path"}:
        raise KeyFileError(
            "a key in a token is named pkcs11:token=NAME;object=LABEL?module-path=LIBRARY"
        )
    return TokenPlace(found["module-path"], found["token"], found["object"])


class TokenKey(SigningKey):
    """An identity key in a token; signatures are made there, and what is derived is derived here.

    Other keys of a party (for the broker, for its disk) follow from `secret`. It is derived from a
    signature that no party is ever shown: Ed25519 has one signature for a message (RFC 8032,
    section 5.1.6), so it is the same after every restart. It is in this process's memory, unlike
    the key: who reads that memory can read a run, but cannot sign.
    """

    def __init__(self, session: Any, private: Any, public: bytes) -> None:  # noqa: ANN401 - Cython
        """Take an open session, and its handle of the private key.

        Raises:
            KeyFileError: If the token does not sign with that key, or not always in the same way.
        """
        self._session, self._private, self._lock = session, private, threading.Lock()
        self.public = public
        message = signed_bytes(DOMAIN, public)
        signature = self._signed(message)
        try:
            verify_plain(public, signature, message)
        except RemoteProtocolError:
            raise KeyFileError("the token signs with another key than it shows") from None
        if self._signed(message) != signature:
            raise KeyFileError(
                "the token's signatures are drawn at random and not as RFC 8032 says: nothing could"
                " be derived from them"
            )
        self._secret = derive_key(signature, label=DOMAIN, context=public)

    def private_bytes(self) -> bytes:
        """Refuse: the key does not leave the token.

        Raises:
            KeyFileError: Always.
        """
        raise KeyFileError("the identity key is in a token, which it never leaves")

    def secret(self) -> bytes:
        """See `SigningKey.secret`."""
        return self._secret

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """See `SigningKey.sign`; the domain of the secret is refused."""
        if domain == DOMAIN:
            raise KeyFileError("this signature is never given away")
        return self._signed(signed_bytes(domain, message))

    def sign_plain(self, message: bytes) -> bytes:
        """See `SigningKey.sign_plain`; a message in the domain of the secret is refused."""
        if message.startswith(signed_bytes(DOMAIN, b"")):
            raise KeyFileError("this signature is never given away")
        return self._signed(message)

    def __repr__(self) -> str:
        return f"TokenKey(public={self.public.hex()})"

    def _signed(self, message: bytes) -> bytes:
        from pkcs11 import Mechanism

        # Heartbeats sign from another thread, and a session has one operation at a time.
        with self._lock, _token_errors():
            found: bytes = self._private.sign(message, mechanism=Mechanism.EDDSA)
        return found


def open_token_key(uri: str, pin: bytes) -> TokenKey:
    """Return the key pair of a label in a token.

    Args:
        uri: Where it is; see `place_of`.
        pin: The token's PIN of the user.

    Raises:
        KeyFileError: If there is no such token or key, or the PIN is wrong.
    """
    from pkcs11 import Attribute, ObjectClass

    place = place_of(uri)
    session = _session(place, pin, write=False)
    with _token_errors():
        found = _objects(session, place, ObjectClass.PRIVATE_KEY)
        shown = _objects(session, place, ObjectClass.PUBLIC_KEY)
        if len(found) != 1 or len(shown) != 1:
            raise KeyFileError(
                f"token {place.token} has {len(found)} Ed25519 keys with the label {place.label},"
                " and not one with its public key"
            )
        point = shown[0][Attribute.EC_POINT]
    return TokenKey(session, found[0], point.removeprefix(_POINT))


def make_token_key(uri: str, pin: bytes) -> TokenKey:
    """Return the key of a label in a token, generated there if it has none yet.

    Raises:
        KeyFileError: See `open_token_key`; also if the token cannot make such a key.
    """
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

    place = place_of(uri)
    session = _session(place, pin, write=True)
    with _token_errors():
        if not _objects(session, place, ObjectClass.PRIVATE_KEY):
            curve = session.create_domain_parameters(
                KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _CURVE}, local=True
            )
            curve.generate_keypair(
                mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                store=True,
                label=place.label,
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
        session.close()
    return open_token_key(uri, pin)


def _session(place: TokenPlace, pin: bytes, *, write: bool) -> Any:  # noqa: ANN401 - Cython
    try:
        import pkcs11
    except ImportError:
        raise KeyFileError(
            "keys in tokens need the extra pkcs11: pip install 'securefl[pkcs11]'"
        ) from None
    with _token_errors():
        token = pkcs11.lib(place.module).get_token(token_label=place.token)
        try:
            return token.open(user_pin=pin.decode(), rw=write)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=write)  # a login is the process's, for all of its sessions


def _objects(session: Any, place: TokenPlace, kind: Any) -> list[Any]:  # noqa: ANN401 - Cython
    from pkcs11 import Attribute, KeyType

    return list(
        session.get_objects(
            {
                Attribute.CLASS: kind,
                Attribute.LABEL: place.label,
                Attribute.KEY_TYPE: KeyType.EC_EDWARDS,
            }
        )
    )


@contextmanager
def _token_errors() -> Iterator[None]:
    """Turn what a token or its library says into one line."""
    from pkcs11.exceptions import PinIncorrect, PKCS11Error

    try:
        yield
    except PinIncorrect:
        raise KeyFileError("the token's PIN is wrong") from None
    except (PKCS11Error, UnicodeDecodeError, OSError) as error:
        words = " ".join(str(error).split())
        raise KeyFileError(f"the token refuses: {type(error).__name__} {words}".strip()) from None
