"""Witnesses outside of the consortium: what is sent to them, and what their signatures say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from securefl.audit.bundle.bundle import Bundle
from securefl.audit.bundle.case import Log
from securefl.consortium.ledger.checkpoint import (
    Checkpoint,
    Note,
    NoteError,
    Verifier,
    checkpoint_of,
    read_checkpoint,
    signed_note,
    witness_request,
)
from securefl_protocols.primitives.signing import SigningKey


@dataclass(frozen=True)
class Cosignature:
    """What a witness says of a head.

    Attributes:
        witness: Its name.
        time: When it signed, in seconds since the epoch by its clock; None if it did not sign.
    """

    witness: str
    time: int | None


@dataclass(frozen=True)
class Witnessed:
    """A checkpoint that is a head of the bundle.

    Attributes:
        checkpoint: The checkpoint.
        last: Whether it covers the whole log of the bundle.
        cosignatures: One for each witness that was asked about.
    """

    checkpoint: Checkpoint
    last: bool
    cosignatures: tuple[Cosignature, ...]


def requests(bundle: Bundle, key: SigningKey) -> Iterator[tuple[Note, str]]:
    """Yield each head as a signed note, and the request that shows it to a witness.

    Heads of equal size are one checkpoint, and a log without entries is not shown.

    Args:
        bundle: The bundle.
        key: Identity key of the party that speaks for the log.
    """
    old = 0
    for linked in bundle.heads:
        if linked.head.head.size == old:
            continue
        note = signed_note(checkpoint_of(linked.head.head), key)
        proof = tuple(map(bytes.fromhex, linked.consistency)) if old else ()
        yield note, witness_request(note, old, proof)
        old = linked.head.head.size


def witnessed(bundle: Bundle, note: Note, witnesses: Sequence[Verifier]) -> Witnessed:
    """Compare a note with the entries and heads of a bundle, and verify the witnesses' lines.

    Raises:
        NoteError: If it is no head over the entries of this bundle, or the signature of a named
            witness is wrong.
    """
    checkpoint, tree = read_checkpoint(note), Log(bundle).tree
    heads = [checkpoint_of(linked.head.head) for linked in bundle.heads]
    # Whoever made the bundle wrote both: a head that witnesses saw may stand above other entries.
    held = checkpoint.size <= len(tree) and tree.root(checkpoint.size) == checkpoint.root
    if checkpoint not in heads or not held:
        raise NoteError("the witnesses saw another log: the checkpoint is no head of this bundle")
    found = tuple(Cosignature(one.name, note.signature(one)) for one in witnesses)
    return Witnessed(checkpoint, checkpoint.size == len(tree), found)
