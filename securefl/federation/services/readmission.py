"""The operator's word that a member that was cut off shall be heard again, before its time is over.

It goes through the run's directory, which only the coordinator's operator can write: no message of
any party says it. The command leaves a file, the coordinator answers in the same file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from securefl.errors import InputError, RunDirectoryError
from securefl.federation.services.status import read_status
from securefl.federation.transport.nats.subjects import token
from securefl.untrusted.files import read_text

_ASKED: Final = "asked"
_HEARD: Final = "heard again"
_WAS_NOT: Final = "was not cut off"
_EVERY: Final = 0.5
_SECONDS: Final = 10.0
_LARGEST: Final = 64
_log = logging.getLogger(__name__)


def readmit(run: Path, member: str, seconds: float = _SECONDS) -> None:
    """Have the running coordinator of a run directory hear a member again.

    Args:
        run: The run's directory.
        member: The member.
        seconds: How long the coordinator's answer is waited for.

    Raises:
        InputError: If it is no member of the run, or is not cut off.
        RunDirectoryError: If no coordinator runs there.
    """
    names = [one["name"] for one in read_status(run)["members"]]
    if member not in names:
        raise InputError(f"{member} is no member of this run; it has {', '.join(names)}")
    path = _path(run, member)
    try:
        path.write_text(_ASKED, encoding="ascii")
        answer = _answer(path, seconds)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {path}: {error.strerror}") from None
    finally:
        path.unlink(missing_ok=True)
    if answer == _ASKED:
        raise RunDirectoryError(
            f"no coordinator of {run} answers: start it, and it hears {member} in any case"
        )
    if answer != _HEARD:
        raise InputError(f"{member} is not cut off; `securefl status {run}` says what it is at")


def _answer(path: Path, seconds: float) -> str:
    until = time.monotonic() + seconds
    while (said := _read(path)) in {_ASKED, ""} and time.monotonic() < until:
        time.sleep(_EVERY / 5)
    return said or _ASKED


@contextmanager
def readmitting(
    run: Path, members: Iterable[str], admit: Callable[[str], bool], every: float = _EVERY
) -> Iterator[None]:
    """Answer what `readmit` leaves in a run's directory, in a thread, until the block ends.

    Args:
        run: The run's directory.
        members: The members of the run; of all other files nothing is read.
        admit: Hears a member again; returns whether it was cut off.
        every: Seconds between two looks.
    """
    paths, over = {_path(run, member): member for member in members}, threading.Event()

    def look() -> None:
        while not over.wait(every):
            for path, member in paths.items():
                if _read(path) == _ASKED:
                    answer_one(path, member, admit)

    thread = threading.Thread(target=look, name="readmission", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def answer_one(path: Path, member: str, admit: Callable[[str], bool]) -> None:
    """Answer one file; a disk that is full stops nothing."""
    answer = _HEARD if admit(member) else _WAS_NOT
    _log.warning("the operator had %s readmitted: it %s", member, answer)
    try:
        path.write_text(answer, encoding="ascii")
    except OSError as error:
        _log.warning("the answer to that cannot be written: %s", error.strerror)


def _path(run: Path, member: str) -> Path:
    return run / "coordinator" / f"readmit-{token(member)}"


def _read(path: Path) -> str:
    try:
        return read_text(path, _LARGEST)
    except InputError:
        return ""
