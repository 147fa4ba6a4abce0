"""Tree heads for witnesses outside of the consortium: C2SP signed notes, checkpoints, cosignatures.

A witness of a public network (c2sp.org/tlog-witness) signs that a log only ever grew. It is shown
the origin, the size and the root of the log and nothing else; the origin is a digest of the run, so
that it names no party. What members sign among themselves stays as it is: a note is a second form
of the same head, for foreign eyes.

Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from securefl.consortium.ledger.merkle import Proof
from securefl.consortium.ledger.tree_heads import TreeHead
from securefl.errors import InputError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey, verify_plain
from securefl_protocols.wire.context import labelled_digest

ORIGIN_LABEL = b"securefl/1/checkpoint-origin"
ED25519: Final = 0x01
"""Algorithm of a log's signature: Ed25519 over the note's text."""
COSIGNATURE: Final = 0x04
"""Algorithm of a witness' signature: Ed25519 over a header with the time, and the text."""
LARGEST_NOTE: Final = 1 << 16
_MOST_SIGNATURES = 100
_NAME = re.compile(r"[^\s+]{1,200}")
_LINE = re.compile(r"\u2014 ([^\s+]{1,200}) ([A-Za-z0-9+/]{4,400}={0,2})")


class NoteError(InputError):
    """Raised if a note, a checkpoint or a verifier key is malformed, or a signature is wrong."""

    wire_name: ClassVar[str] = "NoteError"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log, as a witness sees it.

    Attributes:
        origin: Name of the log.
        size: Number of entries.
        root: Merkle root, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the three lines of a checkpoint's body."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class Verifier:
    """A key that verifies lines of notes.

    Attributes:
        name: Name of the signer.
        algorithm: `ED25519` or `COSIGNATURE`.
        public: Ed25519 public key, 32 bytes.
    """

    name: str
    algorithm: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Return the four bytes by which a line names its key."""
        content = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return hashlib.sha256(content).digest()[:4]

    def to_text(self) -> str:
        """Return the verifier key, as it is given to others: `name+id+key`."""
        key = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def from_text(cls, text: str) -> Verifier:
        """Parse a verifier key.

        Raises:
            NoteError: If it is none, of an unknown algorithm, or its id is not that of its key.
        """
        parts = text.split("+", 2)
        if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
            raise NoteError("a verifier key is written like name+01234567+BASE64")
        key = _decoded(parts[2])
        if len(key) != 33 or key[0] not in {ED25519, COSIGNATURE}:
            raise NoteError(f"the verifier key of {parts[0]} is of no known algorithm")
        found = cls(parts[0], key[0], key[1:])
        if found.key_id.hex() != parts[1]:
            raise NoteError(f"the verifier key of {parts[0]} has the id of another one")
        return found


@dataclass(frozen=True)
class Note:
    """A signed note: text, and signature lines of which most may be of strangers.

    Attributes:
        text: The signed text, with its last line break.
        lines: By line, the signer's name and the bytes of id and signature.
    """

    text: str
    lines: tuple[tuple[str, bytes], ...]

    def to_text(self) -> str:
        """Return the note as it is exchanged."""
        lines = (f"\u2014 {name} {base64.b64encode(data).decode()}\n" for name, data in self.lines)
        return f"{self.text}\n{''.join(lines)}"

    def joined(self, lines: str) -> Note:
        """Return the note with the lines that a witness answered.

        Raises:
            NoteError: If they are no signature lines.
        """
        return read_note(self.to_text() + lines)

    def signature(self, verifier: Verifier) -> int | None:
        """Verify the line of a key.

        Returns:
            The time of a cosignature, in seconds since the epoch, 0 for a log's own signature, and
            None where there is no line of this key.

        Raises:
            NoteError: If there is a line of this key, and it does not fit.
        """
        for name, data in self.lines:
            if (name, data[:4]) == (verifier.name, verifier.key_id):
                return self._verified(verifier, data[4:])
        return None

    def _verified(self, verifier: Verifier, data: bytes) -> int:
        time, message = 0, self.text.encode()
        if verifier.algorithm == COSIGNATURE:
            time, data = int.from_bytes(data[:8], "big"), data[8:]
            message = _cosigned(time, self.text)
        try:
            verify_plain(verifier.public, data, message)
        except RemoteProtocolError:
            raise NoteError(f"the signature of {verifier.name} does not fit the note") from None
        return time


def checkpoint_of(head: TreeHead) -> Checkpoint:
    """Return a tree head as a witness may see it."""
    return Checkpoint(origin_of(head.run), head.size, bytes.fromhex(head.root))


def origin_of(run: str) -> str:
    """Return the public name of a run's log: a digest, from which nothing of the run follows."""
    return f"securefl-log/{labelled_digest(ORIGIN_LABEL, bytes.fromhex(run)).hex()}"


def signed_note(checkpoint: Checkpoint, key: SigningKey) -> Note:
    """Return a checkpoint as a note signed in the log's name."""
    verifier = Verifier(checkpoint.origin, ED25519, key.public)
    text = checkpoint.text()
    return Note(text, ((verifier.name, verifier.key_id + key.sign_plain(text.encode())),))


def cosigned_note(note: Note, name: str, key: SigningKey, time: int) -> Note:
    """Return a note with a witness' cosignature.

    Args:
        note: A checkpoint whose log the witness knows, and which extends the last one it signed.
        name: Name of the witness.
        key: Its key.
        time: Seconds since the epoch.
    """
    verifier = Verifier(name, COSIGNATURE, key.public)
    signature = time.to_bytes(8, "big") + key.sign_plain(_cosigned(time, note.text))
    return Note(note.text, (*note.lines, (name, verifier.key_id + signature)))


def witness_request(note: Note, old: int, proof: Proof) -> str:
    """Return the body of `add-checkpoint` (c2sp.org/tlog-witness).

    Args:
        note: The signed checkpoint.
        old: Size that the witness signed last, 0 if none.
        proof: The RFC 9162 proof from there; a witness expects none from 0.
    """
    hashes = "".join(f"{base64.b64encode(part).decode()}\n" for part in proof)
    return f"old {old}\n{hashes}\n{note.to_text()}"


def read_note(text: str) -> Note:
    """Parse a signed note.

    Raises:
        NoteError: If it is none.
    """
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or len(text) > LARGEST_NOTE:
        raise NoteError("this is no signed note")
    found = tuple(_lines(lines))
    if not 1 <= len(found) <= _MOST_SIGNATURES:
        raise NoteError(f"a note has 1 to {_MOST_SIGNATURES} signatures")
    return Note(f"{body}\n", found)


def read_checkpoint(note: Note) -> Checkpoint:
    """Parse the text of a note as a checkpoint; further lines, which logs may add, are refused.

    Raises:
        NoteError: If it is none.
    """
    lines = note.text.removesuffix("\n").split("\n")
    if len(lines) != 3 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]):
        raise NoteError("the note is no checkpoint of origin, size and root")
    root = _decoded(lines[2])
    if len(root) != 32:
        raise NoteError("the root of a checkpoint has 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def _lines(text: str) -> Iterator[tuple[str, bytes]]:
    for line in text.removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise NoteError("a line below the note is no signature")
        yield match[1], _decoded(match[2])


def _cosigned(time: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("a part of a note is no base64") from None
