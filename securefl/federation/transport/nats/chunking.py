"""A sealed message, cut into parts that a broker takes, and put together again.

Each part is under AES-256-GCM with a key that only sender and receiver can derive: HKDF of the
X25519 secret of their two keys of the run (`run_keys.py`), over a salt of the message and over who
says what to whom in which run. A broker, or whoever else can publish to a subject, can lose and
repeat messages; it can neither read nor make nor change one.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from securefl.errors import SecureflError
from securefl.federation.transport.nats.subjects import CHUNK_BYTES
from securefl.federation.transport.session_keys import (
    KEY_HEADER,
    SIGNATURE_HEADER,
    RunKeys,
    check_announcement,
)
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.sealing import NONCE_BYTES, seal, unseal
from securefl_protocols.wire.context import labelled_digest

LABEL = b"securefl/2/transport"
LARGEST_MESSAGE = 4 << 30
SALT_BYTES = 16
ID_HEADER, _ANSWERS, _PART, SALT_HEADER = (
    "Securefl-Id",
    "Securefl-Answers",
    "Securefl-Part",
    "Securefl-Salt",
)
_OPEN = 4
"""So many messages can be incomplete at a time; parts of one arrive in a row."""


class BadPartError(SecureflError):
    """What arrived is no part of a message, or not of the sender that the subject names."""

    wire_name: ClassVar[str] = "BadPartError"


class PeerKeyUnknownError(SecureflError):
    """The receiver has not announced a key yet, so nothing can be sealed for it."""

    wire_name: ClassVar[str] = "NotMetError"


@dataclass(frozen=True)
class Envelope:
    """A message with what its seal covers.

    Attributes:
        sender: Name of the party that says it.
        receiver: Name of the party that it is for.
        id: Names the message; a repeated one has the same.
        answers: The id of the message that it answers; empty for none.
        body: The message.
    """

    sender: str
    receiver: str
    id: str
    answers: str
    body: bytes

    @property
    def count(self) -> int:
        """How many parts it has."""
        return max(1, -(-len(self.body) // CHUNK_BYTES))

    def parts(self, keys: RunKeys) -> Iterator[tuple[dict[str, str], bytes]]:
        """Headers and content of each part, in order; the broker stores each part once.

        Each call seals anew, under another salt: two calls can meet two versions of a body, and
        parts of two versions must never be taken for one message.

        Raises:
            PeerKeyUnknownError: If the receiver has announced no key.
        """
        public, salt = keys.of(self.receiver), os.urandom(SALT_BYTES)
        if public is None:
            raise PeerKeyUnknownError(f"{self.receiver} has announced no key yet")
        lock = _lock(keys, public, self, (keys.own.public, public, salt))
        headers = {ID_HEADER: self.id, _ANSWERS: self.answers, SALT_HEADER: salt.hex()}
        headers |= keys.headers
        for part in range(self.count):
            number = f"{part}/{self.count}"
            content = self.body[part * CHUNK_BYTES : (part + 1) * CHUNK_BYTES]
            named = {_PART: number, "Nats-Msg-Id": f"{self.id}/{salt.hex()}/{number}"}
            yield headers | named, lock.seal(part, self.count, content)


@dataclass(frozen=True)
class _Lock:
    """What the parts of one message are sealed with.

    Attributes:
        key: 32 bytes, of this message alone.
        statement: 32 bytes that stand for all that the message is bound to.
    """

    key: bytes = field(repr=False)
    statement: bytes

    def seal(self, part: int, count: int, content: bytes) -> bytes:
        return seal(self.key, content, self._bound(part, count), _nonce(part))

    def unseal(self, part: int, count: int, content: bytes) -> bytes:
        return unseal(self.key, content, self._bound(part, count), _nonce(part))

    def _bound(self, part: int, count: int) -> bytes:
        return self.statement + f"{part}/{count}".encode()


def _nonce(part: int) -> bytes:
    """A number is enough: no two messages have the same key."""
    return part.to_bytes(NONCE_BYTES, "big")


def _lock(keys: RunKeys, public: bytes, note: Envelope, fresh: tuple[bytes, bytes, bytes]) -> _Lock:
    """The lock of a message.

    Args:
        keys: Ours.
        public: The other party's key.
        note: The message; its body does not matter.
        fresh: The sender's key, the receiver's key and the salt.
    """
    texts = [text.encode() for text in (note.sender, note.receiver, note.id, note.answers)]
    statement = labelled_digest(LABEL, keys.run, *texts, *fresh)
    secret = keys.own.shared_secret(public)
    return _Lock(derive_key(secret, label=LABEL, context=statement), statement)


@dataclass
class _Incomplete:
    """A message of which parts are missing."""

    lock: _Lock
    parts: dict[int, bytes] = field(default_factory=dict)


class Reassembler:
    """Opens the parts of one sender's messages and puts them together.

    Attributes:
        name: The sender.
    """

    def __init__(self, keys: RunKeys, sender: str, identity: bytes) -> None:
        """Listens to one sender.

        Args:
            keys: Ours; they meet the sender's.
            sender: Whose messages these are.
            identity: The sender's public Ed25519 key, 32 bytes.
        """
        self._keys, self.name, self._identity = keys, sender, identity
        self._open: OrderedDict[tuple[str, ...], _Incomplete] = OrderedDict()
        self._announced: tuple[str, str] | None = None

    def announced(self, headers: Mapping[str, str]) -> bytes:
        """The sender's key of the run, from the headers of anything that it said.

        Raises:
            BadPartError: If the sender did not sign it.
        """
        spelt = headers.get(KEY_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
        try:
            public, signature = (bytes.fromhex(text) for text in spelt)
            if spelt != self._announced:
                check_announcement(self._identity, signature, self._keys.run, self.name, public)
        except (RemoteProtocolError, ValueError):
            raise BadPartError(f"a message in the name of {self.name} is not its own") from None
        self._announced = spelt
        return public

    def add(self, headers: Mapping[str, str], content: bytes) -> Envelope | None:
        """Takes one part; the message when it is complete.

        Raises:
            BadPartError: If the part is none, or not the sender's, or not for us and this run.
        """
        part, count = _numbers(headers)
        key = tuple(
            headers.get(name, "") for name in (ID_HEADER, _ANSWERS, SALT_HEADER, KEY_HEADER)
        )
        key = (*key, str(count))
        public = self.announced(headers)
        try:
            message = self._open.get(key) or _Incomplete(self._lock(key, public))
            message.parts[part] = message.lock.unseal(part, count, content)
        except (RemoteProtocolError, ValueError):
            raise BadPartError(f"a message of {self.name} cannot be opened") from None
        self._keys.meet(self.name, public)
        if len(message.parts) < count:
            self._keep(key, message)
            return None
        self._open.pop(key, None)
        body = b"".join(message.parts[number] for number in range(count))
        return Envelope(self.name, self._keys.name, key[0], key[1], body)

    def _keep(self, key: tuple[str, ...], message: _Incomplete) -> None:
        self._open[key] = message
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)

    def _lock(self, key: tuple[str, ...], public: bytes) -> _Lock:
        note = Envelope(self.name, self._keys.name, key[0], key[1], b"")
        salt = bytes.fromhex(key[2])
        return _lock(self._keys, public, note, (public, self._keys.own.public, salt))


def _numbers(headers: Mapping[str, str]) -> tuple[int, int]:
    try:
        part, count = (int(number) for number in headers.get(_PART, "").split("/"))
    except ValueError:
        raise BadPartError("a part without a number") from None
    if not 0 <= part < count <= LARGEST_MESSAGE // CHUNK_BYTES:
        raise BadPartError("a part with an impossible number")
    return part, count
