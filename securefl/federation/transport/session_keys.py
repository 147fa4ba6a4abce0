"""A party's key for one run, and the keys that the other parties announced.

An X25519 key is drawn when a party enters a run and erased when the run is over: forward secrecy.
An attacker that recorded the broker's traffic, and later steals identity keys and disks, therefore
reads nothing of a finished run. During the run the key is on the party's disk, under AES-256-GCM
with a key derived from its identity key, so that a restarted party can read what the broker stored
for it.
"""

from __future__ import annotations

import os
from pathlib import Path

from securefl.consortium.ledger.sqlite import closed_on_failure, connect, usable
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
RUN_HEADER = "Securefl-Run"
RUN_BYTES = 32
_TABLES = """
CREATE TABLE IF NOT EXISTS own (sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS others (name TEXT PRIMARY KEY, public BLOB NOT NULL);
"""


def announcement(run: bytes, name: str, public: bytes) -> bytes:
    """Return the 32 bytes that a party signs with its identity key to announce a run key."""
    return labelled_digest(ANNOUNCEMENT_LABEL, run, name.encode(), public)


def check_announcement(
    identity: bytes, signature: bytes, run: bytes, name: str, public: bytes
) -> None:
    """Check that a party announced a key for this run.

    Without the signature, a broker could announce keys of its own to both sides (man in the
    middle); without the run in it, it could replay the key of another run.

    Raises:
        RemoteProtocolError: If it did not.
    """
    verify(identity, signature, ANNOUNCEMENT_LABEL, announcement(run, name, public))


class RunKeys:
    """Our key of one run, and the other parties'.

    Attributes:
        run: 32 bytes, identifies the run.
        name: Our name in it.
        own: Our key.
        headers: Our public key, signed with our identity key, and the run that it is for; headers
            of every message of ours.
    """

    def __init__(self, directory: Path, identity: SigningKey, run: bytes, name: str) -> None:
        """Read the key in the directory, or draw one.

        Args:
            directory: The folder of the key file.
            identity: Our identity key.
            run: 32 bytes, identifies the run.
            name: Our name.

        Raises:
            RunDirectoryError: If the file cannot be used, see `usable`, or belongs to another
                identity.
        """
        self.run, self.name = run, name
        self._file = directory / "run-keys.sqlite"
        self._storage = derive_key(identity.secret(), label=STORAGE_LABEL, context=run)
        with usable(self._file, ""):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Written by the connection's thread, one statement at a time. Deleted content is
            # overwritten: an erased key must not be left in free pages of the file.
            self._database = connect(
                self._file, "synchronous=FULL", "secure_delete=ON", tables=_TABLES
            )
            with closed_on_failure(self._database):
                self.own = self._kept() or self._drawn()
                rows = self._database.execute("SELECT name, public FROM others").fetchall()
        # An earlier version kept keys under which nothing can be sealed: sealing would end us.
        self._others: dict[str, bytes] = {
            name: public for name, public in rows if self._usable(public)
        }
        signature = identity.sign(ANNOUNCEMENT_LABEL, announcement(run, name, self.own.public))
        self.headers = {
            KEY_HEADER: self.own.public.hex(),
            SIGNATURE_HEADER: signature.hex(),
            RUN_HEADER: run.hex(),
        }

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
        """Return the key that another party announced last, 32 bytes; None before it did."""
        return self._others.get(other)

    def meet(self, other: str, public: bytes) -> None:
        """Take the key that another party announced; later messages to it are sealed under it.

        Raises:
            RemoteProtocolError: If nothing can be sealed under it. That it is signed does not say.
        """
        if self._others.get(other) == public:
            return
        # Here, where its sender is at fault, and not where we seal: that would end our process.
        self.own.shared_secret(public)
        self._database.execute("INSERT OR REPLACE INTO others VALUES (?, ?)", (other, public))
        self._others[other] = public

    def _usable(self, public: bytes) -> bool:
        try:
            self.own.shared_secret(public)
        except RemoteProtocolError:
            return False
        return True

    def erase(self) -> None:
        """Erase our key: from here on, our identity key does not open the run's messages either."""
        self._database.execute("DELETE FROM own")

    def close(self) -> None:
        """Close the file."""
        self._database.close()
