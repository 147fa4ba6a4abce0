"""Whose a file is, and who else can read it, through what the platform has.

POSIX has an owner and modes, and both are checked. Windows has neither in `os.stat`: there a file
that is written for its owner alone gets an access list of one entry, and a file that is read is
protected by the access list of its folder and by its passphrase.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o600
WITHOUT_WAITING: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags to open what may be a pipe: without O_NONBLOCK that would wait for a writer."""
_OWNER_RIGHTS: Final = "*S-1-3-4"
"""The well-known security identifier of whoever owns the file, in every language of Windows."""


def has_owners() -> bool:
    """Return whether `os.stat` tells owner and mode of a file here."""
    return hasattr(os, "geteuid")


def is_foreign(state: os.stat_result) -> bool:
    """Return whether a file belongs to a user who is neither the process's nor root.

    Root may provide keys, as a secret store does; another user could replace them.
    """
    return has_owners() and state.st_uid not in {0, os.geteuid()}


def is_own(state: os.stat_result) -> bool:
    """Return whether a file is this process's own, so that it may change its mode."""
    return not has_owners() or state.st_uid == os.geteuid()


def is_open_to_others(state: os.stat_result) -> bool:
    """Return whether users other than its owner have any right to a file."""
    return has_owners() and bool(stat.S_IMODE(state.st_mode) & 0o077)


def own_groups() -> set[int]:
    """Return the groups of the process; none where the platform has none."""
    return {os.getegid(), *os.getgroups()} if has_owners() else set()


def keep_to_owner(path: Path) -> None:
    """Take every right to a file from all but its owner.

    Raises:
        OSError: If that fails; what was to be secret is then not to be written.
    """
    if has_owners():
        path.chmod(OWNER_ONLY)
        return
    command = ["icacls", str(path), "/inheritance:r", "/grant:r", f"{_OWNER_RIGHTS}:F"]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - no shell
    except subprocess.CalledProcessError:
        raise PermissionError(13, "its access list cannot be set", str(path)) from None
