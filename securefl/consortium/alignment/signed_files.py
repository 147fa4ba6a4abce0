"""The messages of an alignment as files, each signed by the party that the plan says writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from securefl.consortium.alignment.plan import AlignmentPlan, publish
from securefl.errors import InputError
from securefl.untrusted.files import read_bytes
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SIGNATURE_BYTES, SigningKey, verify

MAGIC: Final = b"SFALIGN2"
HEADER: Final = len(MAGIC) + 32 + SIGNATURE_BYTES
_LABEL: Final = b"securefl/1/alignment-message"


@dataclass(frozen=True)
class Exchange:
    """The folder that all parties reach, as one of them sees it.

    A message is the magic bytes, the plan's digest, a signature and the content. The signature is
    over the plan's digest, the file's name and the content, so that no message stands for another
    one, and whoever else can write into the folder can at most withhold.

    Attributes:
        folder: The folder.
        plan: What was agreed; its digest covers the keys of all parties.
        key: This party's identity key.
    """

    folder: Path
    plan: AlignmentPlan
    key: SigningKey = field(repr=False)

    def there(self, name: str) -> bool:
        """Return whether a file is there."""
        return (self.folder / name).exists()

    def write(self, name: str, content: bytes) -> None:
        """Write a message of this party's, and never over another."""
        signature = self.key.sign(_LABEL, self._signed(name, content))
        publish(self.folder / name, MAGIC + self.plan.context + signature + content)

    def read(self, name: str, writer: int | None, largest: int, *, exact: bool = True) -> bytes:
        """Return the content of a message.

        Args:
            name: The file's name.
            writer: Index of the member whose message it has to be; None for the coordinator's.
            largest: Bytes that the content has, or may have.
            exact: Whether it has exactly as many.

        Raises:
            InputError: It is none of this alignment, of another length, or not signed by the party
                whose it is.
        """
        path, plan = self.folder / name, self.plan
        found = read_bytes(path, HEADER + largest)
        if found[: len(MAGIC)] != MAGIC or found[len(MAGIC) :][:32] != plan.context:
            raise InputError(f"{path} is no message of this alignment")
        content = found[HEADER:]
        if exact and len(content) != largest:
            raise InputError(f"{path} is damaged: another length than was agreed")
        public = plan.coordinator_identity if writer is None else plan.identities[writer]
        signature = found[HEADER - SIGNATURE_BYTES : HEADER]
        try:
            verify(bytes.fromhex(public), signature, _LABEL, self._signed(name, content))
        except RemoteProtocolError:
            party = "the coordinator" if writer is None else plan.members[writer]
            raise InputError(
                f"{path} is not signed by {party}: another party wrote or changed it; ask who did"
                " that, and start a new alignment in new folders"
            ) from None
        return content

    def _signed(self, name: str, content: bytes) -> bytes:
        return self.plan.context + name.encode() + b"\0" + content
