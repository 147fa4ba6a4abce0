"""What a check before a run found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from securefl.errors import SecureflError
from securefl.federation.transport.faults import FAULTS


@dataclass(frozen=True)
class Finding:
    """The result of one check; the field names are keys of the JSON output.

    Attributes:
        name: The check.
        fine: Whether it passed.
        said: What was found, in one line.
        mend: How to fix it; empty where it passed.
    """

    name: str
    fine: bool
    said: str
    mend: str = ""


def looked(name: str, look: Callable[[], str], mend: str) -> Finding:
    """Return what a look found: it returns a line, or raises an error whose text is one."""
    try:
        return Finding(name, True, look())
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return Finding(name, False, f"{place}{error.strerror or type(error).__name__}", mend)
    except (SecureflError, ValueError) as error:
        return Finding(name, False, " ".join(str(error).split()) or type(error).__name__, mend)


def faulty(name: str, code: str) -> Finding:
    """Return a check that met a fault of the table `FAULTS`."""
    kind = FAULTS[code]
    return Finding(name, False, kind.says, kind.todo)
