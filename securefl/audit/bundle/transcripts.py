"""Transcripts of masked sums, as a bundle carries them."""

from __future__ import annotations

from securefl.audit.bundle.bundle import TranscriptFile
from securefl.audit.bundle.case import AuditContext
from securefl_protocols.wire.transcript import Transcript


def read_transcript(case: AuditContext, file: TranscriptFile) -> Transcript | None:
    """A transcript from beside the bundle; None where there is no such file.

    Raises:
        RemoteProtocolError: If the file is no transcript.
    """
    path = None if case.folder is None else case.folder / file.file
    if path is None or not path.is_file():
        return None
    return Transcript.from_bytes(path.read_bytes())
