"""Transcripts of masked sums beside the log: large, and kept as long as there is room for them."""

from __future__ import annotations

from pathlib import Path

from securefl.ml.tensor_io import write_atomically
from securefl_protocols.wire.transcript import Transcript

_MEBIBYTE = 1 << 20


def transcript_path(folder: Path, number: int) -> Path:
    """Where the transcript of a round lies."""
    return folder / f"round-{number:06d}.msgpack"


class TranscriptArchive:
    """Keeps the newest transcripts.

    Every digest is in the log for good; a transcript that was dropped for lack of room is missed
    by nobody but the auditor who wants to recompute that one sum.

    Args:
        folder: Where they lie.
        mebibytes: How much room they have; 0 keeps none.
    """

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self._folder = folder
        self._room = mebibytes * _MEBIBYTE

    def keep(self, number: int, transcript: Transcript | None) -> str | None:
        """Keep a round's transcript, and drop the oldest that there is no room for.

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

    def _make_room(self, size: int, place: Path) -> bool:
        old = [path for path in sorted(self._folder.glob("round-*.msgpack")) if path != place]
        taken = sum(path.stat().st_size for path in old)
        while old and taken + size > self._room:
            taken -= old[0].stat().st_size
            old.pop(0).unlink()
        return taken + size <= self._room
