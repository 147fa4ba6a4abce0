"""Reading of the transcripts that a bundle names."""

from __future__ import annotations

from securefl.audit.bundle.bundle import TranscriptFile
from securefl.audit.bundle.case import AuditContext
from securefl_protocols.wire.transcript import Transcript


def read_transcript(case: AuditContext, file: TranscriptFile) -> Transcript | None:
    """Read a transcript; None where the file is missing.

    Raises:
        RemoteProtocolError: If the file is not a transcript.
    """
    path = case.file(file.file)
    if path is None:
        return None
    return Transcript.from_bytes(path.read_bytes())
