"""Reading of the transcripts that a bundle names."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from securefl.audit.bundle.bundle import (
    LARGEST_TRANSCRIPT,
    LARGEST_TRANSCRIPTS,
    TranscriptFile,
)
from securefl.audit.bundle.case import AuditContext
from securefl.errors import InputError
from securefl.untrusted.files import read_bytes
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.wire.transcript import Transcript


def read_transcript(case: AuditContext, file: TranscriptFile) -> Transcript | None:
    """Read a transcript; None where the file is missing.

    Raises:
        RemoteProtocolError: If the file is not a transcript, or not one beside the bundle, or if
            the transcripts together are none that are read.
    """
    if fault := _excess(case):
        raise RemoteProtocolError(fault)
    content = read_beside(case.folder, file.file, LARGEST_TRANSCRIPT)
    return None if content is None else Transcript.from_bytes(content)


@lru_cache(maxsize=1)
def _excess(case: AuditContext) -> str:
    """Return why no transcript of a bundle is read, by what the file system says of them.

    Each is small enough by itself. Links make many of one file, and sparse files cost nothing.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for path in (case.file(file.file) for file in case.bundle.transcripts):
        if path is None:
            continue
        try:
            state = path.stat()
        except OSError:
            continue  # refused when it is read
        if (state.st_dev, state.st_ino) in seen:
            return "two names of transcripts lead to one file"
        seen.add((state.st_dev, state.st_ino))
        total += state.st_size
    if total > LARGEST_TRANSCRIPTS:
        return f"the transcripts are larger than {LARGEST_TRANSCRIPTS >> 30} GiB together"
    return ""


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
