"""Reading of the transcripts that a bundle names."""

from __future__ import annotations

from pathlib import Path

from securefl.audit.bundle.bundle import LARGEST_TRANSCRIPT, TranscriptFile
from securefl.audit.bundle.case import AuditContext
from securefl.errors import InputError
from securefl.untrusted.files import read_bytes
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.wire.transcript import Transcript


def read_transcript(case: AuditContext, file: TranscriptFile) -> Transcript | None:
    """Read a transcript; None where the file is missing.

    Raises:
        RemoteProtocolError: If the file is not a transcript, or not one beside the bundle.
    """
    content = read_beside(case.folder, file.file, LARGEST_TRANSCRIPT)
    return None if content is None else Transcript.from_bytes(content)


def read_beside(folder: Path | None, name: str, largest: int) -> bytes | None:
    """Read a file that a bundle names; None where there is none.

    Raises:
        RemoteProtocolError: If it is too large, no regular file, or, by a link, not beside the
            bundle: a bundle must not have its reader open other files of theirs.
    """
    path = None if folder is None else folder / name
    if folder is None or path is None or not path.is_file():
        return None
    try:
        return read_bytes(path, largest, inside=folder)
    except InputError as error:
        raise RemoteProtocolError(str(error)) from None
