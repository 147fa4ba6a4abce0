"""The key that a party has for one run alone, and the keys that the others announced.

An X25519 key is drawn when a party enters a run and erased when the run is over. Whoever has
recorded what a broker carried, and later steals identity keys and disks, therefore reads nothing of
a run that is over. In between the key lies on the party's disk, under AES-256-GCM with a key
derived from its identity key: a party that was killed can read what the broker has for it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from securefl.errors import RunDirectoryError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.sealing import NONCE_BYTES, seal, unseal
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.wire.context import labelled_digest

ANNOUNCEMENT_LABEL = b"securefl/1/run key"
STORAGE_LABEL = b"securefl/1/run key on disk"
KEY_HEADER, SIGNATURE_HEADER = "Securefl-Key", "Securefl-Signature"
_TABLES = """
CREATE TABLE IF NOT EXISTS own (sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS others (name TEXT PRIMARY KEY, public BLOB NOT NULL);
"""


def announcement(run: bytes, name: str, public: bytes) -> bytes:
    """What a party signs with its identity key to make a run key its own."""
    return labelled_digest(ANNOUNCEMENT_LABEL, run, name.encode(), public)


def check_announcement(
    identity: bytes, signature: bytes, run: bytes, name: str, public: bytes
) -> None:
    """Checks that a party announced a key for this run.

    Raises:
        RemoteProtocolError: If it did not.
    """
    verify(identity, signature, ANNOUNCEMENT_LABEL, announcement(run, name, public))


class RunKeys:
    """Our key of one run, and the others'.

    Attributes:
        run: 32 bytes, names the run.
        name: Who we are in it.
        own: Our key.
        headers: Our public key, signed with our identity key; stands on all that we say.
    """

    def __init__(self, directory: Path, identity: SigningKey, run: bytes, name: str) -> None:
        """Takes the key that lies here, or draws one.

        Args:
            directory: Where it lies.
            identity: Our identity key.
            run: 32 bytes, names the run.
            name: Our name.

        Raises:
            RunDirectoryError: If the file cannot be used, or is of another identity.
        """
        self.run, self.name = run, name
        self._file = directory / "run-keys.sqlite"
        self._storage = derive_key(identity.private_bytes(), label=STORAGE_LABEL, context=run)
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Written by the connection's thread, one statement at a time.
            self._database = sqlite3.connect(
                self._file, isolation_level=None, check_same_thread=False
            )
            for pragma in ("synchronous=FULL", "secure_delete=ON"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(_TABLES)
            self.own = self._kept() or self._drawn()
            rows = self._database.execute("SELECT name, public FROM others").fetchall()
        except (OSError, sqlite3.Error) as error:
            raise RunDirectoryError(f"{self._file} cannot be used: {error}") from None
        self._others: dict[str, bytes] = dict(rows)
        signature = identity.sign(ANNOUNCEMENT_LABEL, announcement(run, name, self.own.public))
        self.headers = {KEY_HEADER: self.own.public.hex(), SIGNATURE_HEADER: signature.hex()}

    def _kept(self) -> ExchangeKey | None:
        row = self._database.execute("SELECT sealed FROM own").fetchone()
        if row is None:
            return None
        nonce, box = row[0][:NONCE_BYTES], row[0][NONCE_BYTES:]
        try:
            return ExchangeKey(unseal(self._storage, box, self.run, nonce))
        except RemoteProtocolError:
            raise RunDirectoryError(f"{self._file} is damaged, or of another key") from None

    def _drawn(self) -> ExchangeKey:
        key, nonce = ExchangeKey.generate(os.urandom), os.urandom(NONCE_BYTES)
        box = seal(self._storage, key.private_bytes(), self.run, nonce)
        self._database.execute("INSERT INTO own VALUES (?)", (nonce + box,))
        return key

    def of(self, other: str) -> bytes | None:
        """The key that another party announced last, 32 bytes; None before it did."""
        return self._others.get(other)

    def meet(self, other: str, public: bytes) -> None:
        """Another party announced a key; from here on it is spoken to under this one."""
        if self._others.get(other) == public:
            return
        self._database.execute("INSERT OR REPLACE INTO others VALUES (?, ?)", (other, public))
        self._others[other] = public

    def erase(self) -> None:
        """The run is over: nobody is to read it again, and be it with our identity key."""
        self._database.execute("DELETE FROM own")

    def close(self) -> None:
        """Close the file."""
        self._database.close()
