"""Archive of the transcripts of masked sums, which are large and therefore rotated."""

from __future__ import annotations

from pathlib import Path

from securefl.ml.tensor_io import delete, write_atomically
from securefl_protocols.wire.transcript import Transcript

_MEBIBYTE = 1 << 20


def transcript_path(folder: Path, number: int) -> Path:
    """Return the path of a round's transcript."""
    return folder / f"round-{number:06d}.msgpack"


class TranscriptArchive:
    """Size-limited archive of the newest transcripts.

    The log keeps every digest permanently. A transcript that was dropped is only needed to replay
    that one sum in an audit.

    Args:
        folder: Folder of the transcripts.
        mebibytes: Size limit; 0 stores none.
    """

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self._folder = folder
        self._room = mebibytes * _MEBIBYTE

    def keep(self, number: int, transcript: Transcript | None) -> str | None:
        """Store a round's transcript, and drop the oldest beyond the size limit.

        Returns:
            The transcript's digest in hex; None for None.

        Raises:
            RunDirectoryError: If it cannot be written.
        """
        if transcript is None:
            return None
        if self._room:
            content = transcript.to_bytes()
            if self._make_room(len(content), transcript_path(self._folder, number)):
                write_atomically(transcript_path(self._folder, number), content)
        return transcript.digest().hex()

    def keep_rejected(self, number: int, transcript: Transcript) -> None:
        """Store the transcript of a round whose sum was rejected, in the place of earlier ones.

        It shows that the coordinator announced what was signed (docs/specification/protocol.md,
        section 8).

        Raises:
            RunDirectoryError: If it cannot be written.
        """
        content = transcript.to_bytes()
        for old in self._folder.glob("rejected-*.msgpack"):
            delete(old)
        if len(content) <= self._room:
            write_atomically(self._folder / f"rejected-{number:06d}.msgpack", content)

    def _make_room(self, size: int, target: Path) -> bool:
        old = [path for path in sorted(self._folder.glob("round-*.msgpack")) if path != target]
        taken = sum(path.stat().st_size for path in old)
        while old and taken + size > self._room:
            taken -= old[0].stat().st_size
            delete(old.pop(0))
        return taken + size <= self._room
