"""Sealed messages in chunks that a broker accepts, and their reassembly.

Each part is under AES-256-GCM with a key that only sender and receiver can derive: HKDF of the
X25519 secret of their two keys of the run (`session_keys.py`), over a salt of the message and over
sender, receiver, ids and run. A broker, or another party that can publish to a subject, can drop
and repeat messages; it can neither read nor forge nor change one.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from securefl.errors import SecureflError
from securefl.federation.transport.answer_sizes import SMALL_ANSWER
from securefl.federation.transport.nats.part_errors import (
    BadPartError,
    OtherRunError,
    TooLargeError,
)
from securefl.federation.transport.nats.subjects import CHUNK_BYTES, LARGEST_MESSAGE
from securefl.federation.transport.session_keys import (
    KEY_HEADER,
    RUN_BYTES,
    RUN_HEADER,
    SIGNATURE_HEADER,
    RunKeys,
    check_announcement,
)
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.sealing import NONCE_BYTES, TAG_BYTES, seal, unseal
from securefl_protocols.wire.context import labelled_digest

LABEL = b"securefl/2/transport"
SALT_BYTES = 16
ID_HEADER, _ANSWERS, PART_HEADER, SALT_HEADER = (
    "Securefl-Id",
    "Securefl-Answers",
    "Securefl-Part",
    "Securefl-Salt",
)
OPEN_MESSAGES = 4
"""Incomplete messages of a sender at a time; more would let it fill the receiver's memory.

The parts of one message arrive one after the other, so a correct sender needs few."""


MOST_KEYS = 8
"""Keys of one run that a sender may announce; each asks for a write to disk and for all that is
open to be sealed and sent anew. An honest one draws another when it has lost its disk."""


class PeerKeyUnknownError(SecureflError):
    """The receiver has not announced a key yet, so nothing can be sealed for it."""

    wire_name: ClassVar[str] = "NotMetError"


@dataclass(frozen=True)
class Envelope:
    """A message with what its seal covers.

    Attributes:
        sender: Name of the sending party.
        receiver: Name of the receiving party.
        id: Identifies the message; a repeated one has the same.
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
        """The number of its parts."""
        return max(1, -(-len(self.body) // CHUNK_BYTES))

    def parts(self, keys: RunKeys) -> Iterator[tuple[dict[str, str], bytes]]:
        """Yield headers and content of each part, in order; the broker stores each part once.

        Raises:
            PeerKeyUnknownError: If the receiver has announced no key.
        """
        # Each call has a salt, and so a key, of its own. A restarted sender can send another body
        # under the same id: under one key that would reuse nonces, and parts of two bodies could be
        # combined into one message.
        public, salt = keys.of(self.receiver), os.urandom(SALT_BYTES)
        if public is None:
            raise PeerKeyUnknownError(f"{self.receiver} has announced no key yet")
        lock = _lock(keys, public, self, (keys.own.public, public, salt))
        headers = {ID_HEADER: self.id, _ANSWERS: self.answers, SALT_HEADER: salt.hex()}
        headers |= keys.headers
        for part in range(self.count):
            number = f"{part}/{self.count}"
            content = self.body[part * CHUNK_BYTES : (part + 1) * CHUNK_BYTES]
            named = {PART_HEADER: number, "Nats-Msg-Id": f"{self.id}/{salt.hex()}/{number}"}
            yield headers | named, lock.seal(part, self.count, content)


@dataclass(frozen=True)
class _Lock:
    """The key of one message's parts, and the context that it is bound to.

    Attributes:
        key: 32 bytes, of this message alone.
        statement: 32 bytes, the digest of that context; associated data of every part.
    """

    key: bytes = field(repr=False)
    statement: bytes

    def seal(self, part: int, count: int, content: bytes) -> bytes:
        return seal(self.key, content, self._bound(part, count), _nonce(part))

    def unseal(self, part: int, count: int, content: bytes) -> bytes:
        return unseal(self.key, content, self._bound(part, count), _nonce(part))

    def _bound(self, part: int, count: int) -> bytes:
        # Position and number of parts are authenticated: else a broker could reorder or cut off.
        return self.statement + f"{part}/{count}".encode()


def _nonce(part: int) -> bytes:
    """Return the part's number as a nonce; unique, because no two messages have the same key."""
    return part.to_bytes(NONCE_BYTES, "big")


def _lock(keys: RunKeys, public: bytes, note: Envelope, fresh: tuple[bytes, bytes, bytes]) -> _Lock:
    """Return the lock of a message.

    Args:
        keys: Ours.
        public: The other party's key.
        note: The message; its body is not used.
        fresh: The sender's key, the receiver's key and the salt.
    """
    # The statement has sender and receiver in this order, so that a message cannot be reflected to
    # its sender, and both keys, so that it is bound to this very key agreement.
    texts = [text.encode() for text in (note.sender, note.receiver, note.id, note.answers)]
    statement = labelled_digest(LABEL, keys.run, *texts, *fresh)
    secret = keys.own.shared_secret(public)
    return _Lock(derive_key(secret, label=LABEL, context=statement), statement)


@dataclass
class _Incomplete:
    """A message with missing parts."""

    lock: _Lock
    parts: dict[int, bytes] = field(default_factory=dict)

    def size(self, besides: int | None = None) -> int:
        """Return the bytes of its parts, without those of one of them."""
        return sum(len(content) for place, content in self.parts.items() if place != besides)


class Reassembler:
    """The reassembly of one sender's messages from sealed parts.

    It holds no more than about the largest message that may come now, and of a question's answers
    one: what is larger, or comes again, is refused before it is opened.

    Attributes:
        name: The sender.
    """

    def __init__(
        self,
        keys: RunKeys,
        sender: str,
        identity: bytes,
        largest: Callable[[str], int] = lambda answers: SMALL_ANSWER,
    ) -> None:
        """Start without parts.

        Args:
            keys: Ours; they take the key that the sender announces.
            sender: The sender's name.
            identity: The sender's public Ed25519 key, 32 bytes.
            largest: Returns the most bytes of a message, by the id that it answers; at least
                `SMALL_ANSWER`.
        """
        self._keys, self.name, self._identity = keys, sender, identity
        self._largest = largest
        self._open: OrderedDict[tuple[str, ...], _Incomplete] = OrderedDict()
        self._announced: tuple[str, ...] | None = None
        self._answered: str | None = None
        self._met = 0

    def announced(self, headers: Mapping[str, str]) -> bytes:
        """Return the sender's key of the run, from the headers of any message of it.

        Raises:
            OtherRunError: If it is the sender's key of another run.
            BadPartError: If the sender did not sign it.
        """
        spelt = tuple(headers.get(name, "") for name in (KEY_HEADER, SIGNATURE_HEADER, RUN_HEADER))
        try:
            public, signature, run = (bytes.fromhex(text) for text in spelt)
            # Every part carries the announcement; one that was verified is not verified again.
            if spelt != self._announced:
                check_announcement(self._identity, signature, run, self.name, public)
        except (RemoteProtocolError, ValueError):
            raise BadPartError(f"a message in the name of {self.name} is not its own") from None
        if len(run) != RUN_BYTES:
            raise BadPartError(f"a message of {self.name} does not name its run")
        self._announced = spelt
        if run != self._keys.run:
            raise OtherRunError(self.name, run, self._keys.run)
        return public

    def meet(self, public: bytes) -> None:
        """Take the sender's key of the run.

        Raises:
            BadPartError: If it has announced too many, or this is no key.
        """
        if self._keys.of(self.name) == public:
            return
        if self._met == MOST_KEYS:
            raise BadPartError(f"{self.name} announces one key after another")
        try:
            self._keys.meet(self.name, public)
        except RemoteProtocolError:
            raise BadPartError(f"{self.name} announces a key that is none") from None
        self._met += 1

    def only(self, headers: Mapping[str, str], content: bytes) -> Envelope:
        """Return a message of one part; nothing of it is kept.

        Raises:
            BadPartError: If it has other parts, or as `add`.
        """
        if numbers(headers) != (0, 1):
            raise BadPartError(f"{self.name} sent a message in parts where none has parts")
        note = self.add(headers, content)
        assert note is not None
        return note

    def add(self, headers: Mapping[str, str], content: bytes) -> Envelope | None:
        """Take one part, and return the message once it is complete.

        Raises:
            BadPartError: If it is not a part, or not the sender's, or not for us and this run.
        """
        part, count = numbers(headers)
        key = message_key(headers)
        public = self.announced(headers)
        self._check_size(key, part, count, len(content))
        try:
            message = self._open.get(key) or _Incomplete(self._lock(key, public))
            message.parts[part] = message.lock.unseal(part, count, content)
        except (RemoteProtocolError, ValueError):
            raise BadPartError(f"a message of {self.name} cannot be opened") from None
        # Only now: that the part opened shows that the sender holds this key at present, and is not
        # another party that replays its announcement.
        self.meet(public)
        if len(message.parts) < count:
            self._keep(key, message)
            return None
        self._open.pop(key, None)
        body = b"".join(message.parts[number] for number in range(count))
        if key[1] and len(body) > SMALL_ANSWER:
            # The first one is the answer; another one of that size would only wait beside it.
            self._answered = key[1]
        return Envelope(self.name, self._keys.name, key[0], key[1], body)

    def _limit(self, answers: str) -> int:
        """Return the most bytes of a message that may come now."""
        return SMALL_ANSWER if answers == self._answered else self._largest(answers)

    def _check_size(self, key: tuple[str, ...], part: int, count: int, size: int) -> None:
        """Refuse a part of a message that is larger than its question admits.

        Raises:
            TooLargeError: If it is; parts of it that are here are dropped.
        """
        most, held = self._limit(key[1]), self._open.get(key)
        before = 0 if held is None else held.size(besides=part)
        if count <= max(1, -(-most // CHUNK_BYTES)) and before + size - TAG_BYTES <= most:
            return
        self._open.pop(key, None)
        raise TooLargeError(f"{self.name} sent more than the {most} bytes that may come now")

    def _keep(self, key: tuple[str, ...], message: _Incomplete) -> None:
        self._open[key] = message
        most = max(self._limit(other[1]) for other in self._open)
        while len(self._open) > OPEN_MESSAGES or (
            len(self._open) > 1 and sum(kept.size() for kept in self._open.values()) > most
        ):
            self._open.popitem(last=False)

    def _lock(self, key: tuple[str, ...], public: bytes) -> _Lock:
        note = Envelope(self.name, self._keys.name, key[0], key[1], b"")
        salt = bytes.fromhex(key[2])
        return _lock(self._keys, public, note, (public, self._keys.own.public, salt))


def message_key(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is the same in all parts of one message, and in no other; its id is the first.

    Raises:
        BadPartError: If it is no part.
    """
    named = (ID_HEADER, _ANSWERS, SALT_HEADER, KEY_HEADER)
    return (*(headers.get(name, "") for name in named), str(numbers(headers)[1]))


def numbers(headers: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of a part, and the number of parts.

    Raises:
        BadPartError: If there are none, or impossible ones.
    """
    try:
        part, count = (int(number) for number in headers.get(PART_HEADER, "").split("/"))
    except ValueError:
        raise BadPartError("a part without a number") from None
    # Before anything is allocated: the headers are unauthenticated until the part is opened.
    if not 0 <= part < count <= LARGEST_MESSAGE // CHUNK_BYTES:
        raise BadPartError("a part with an impossible number")
    return part, count
