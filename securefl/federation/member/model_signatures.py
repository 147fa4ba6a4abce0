"""Members' signed ledger entries that name a released model, beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from securefl.consortium.ledger.events import Outcome, SignedEntry
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.ml.tensor_io import write_atomically
from securefl.tasks.served.manifest import SIGNATURES


def write_signatures(folder: Path, entries: Iterable[bytes], digest: bytes) -> None:
    """Write the entries by which members signed that a round ended with a model.

    Args:
        folder: The folder of the released model.
        entries: Signed entries, of one member or of all.
        digest: The model's digest.

    Raises:
        LedgerError: If an entry is none.
        RunDirectoryError: If the file cannot be written.
    """
    read = [read_entry(data) for data in entries]
    found = [one.model_dump(mode="json") for one in read if names_model(one, digest.hex())]
    write_atomically(folder / SIGNATURES, (json.dumps(found, indent=1) + "\n").encode())


def names_model(signed: SignedEntry, digest: str) -> bool:
    """Return whether an entry says that a round ended with a model, digest in hex."""
    event = signed.entry.event
    return isinstance(event, Outcome) and event.model_after == digest
