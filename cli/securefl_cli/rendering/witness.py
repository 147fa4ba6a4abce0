"""Rendering of what witnesses outside of the consortium have signed."""

from __future__ import annotations

from datetime import UTC, datetime

from securefl.audit.bundle.witnesses import Witnessed
from securefl_cli.rendering.screen import console, copyable, labelled

_YEAR_10000 = 253_402_300_800


def print_witnessed(found: Witnessed) -> int:
    """Print the checkpoint and its cosignatures.

    Returns:
        The exit code: 0 if all named witnesses signed the whole log, 3 if one did not. After its
        beginning two logs can be shown, which every witness of that signed.
    """
    out = console()
    copyable(out, "Checkpoint", f"{found.checkpoint.origin}, {found.checkpoint.size:,} entries")
    labelled(out, "Covers", "the whole log" if found.last else "the beginning of the log")
    for one in found.cosignatures:
        out.whole(f"{_signed(one.time):11} {one.witness}")
    signed = all(one.time is not None for one in found.cosignatures)
    return 0 if signed and found.last else 3


def _signed(time: int | None) -> str:
    if time is None:
        return "not signed"
    if not 0 < time < _YEAR_10000:
        return "signed"
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
