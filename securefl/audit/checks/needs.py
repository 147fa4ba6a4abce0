"""The facts that checks need: each says whether the agreement calls for it, and whether it is here.

A check declares its needs in the registry and runs only where they are met. What is missing is
never read as fine: if the agreement calls for it, the whole audit is incomplete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Finding, lacking, skipped

NO_PRIVACY: Final = skipped("the run claims no differential privacy")
NOTHING_MASKED: Final = skipped("nothing was masked: the coordinator saw every update")


@dataclass(frozen=True)
class Need:
    """A fact that a check cannot do without.

    Attributes:
        fact: Name of the fact, in the words of the summary.
        unmet: Returns why a check that needs it cannot run; None where the fact is here.
    """

    fact: str
    unmet: Callable[[AuditContext], Finding | None]


def _called_for(fact: str, reason: str, here: Callable[[AuditContext], bool]) -> Need:
    return Need(fact, lambda case: None if here(case) else lacking(fact, reason))


def _optional(fact: str, reason: str, here: Callable[[AuditContext], bool]) -> Need:
    return Need(fact, lambda case: None if here(case) else skipped(reason))


PRIVACY: Final = Need("differential privacy", lambda case: None if case.private else NO_PRIVACY)
MASKS: Final = Need("masked sums", lambda case: None if case.masked else NOTHING_MASKED)
ENTRIES: Final = _called_for(
    "entries of the members", "the bundle has no entries", lambda case: bool(case.log.lines)
)
STARTS: Final = _called_for(
    "entries of the start", "no member recorded its start", lambda case: bool(case.log.starts)
)
OUTCOMES: Final = _called_for(
    "outcomes of rounds", "no member recorded the end of a round", lambda c: bool(c.log.outcomes)
)
TRANSCRIPTS: Final = _called_for(
    "transcripts of the sums",
    "no transcript lies beside the bundle",
    lambda case: any(case.file(file.file) is not None for file in case.bundle.transcripts),
)
START_MODEL: Final = _called_for(
    "the model before the first round",
    "the bundle names no model to start from",
    lambda case: case.bundle.claims.start_model is not None,
)
MODEL: Final = _optional(
    "a model", "no model was given (--model)", lambda case: case.model is not None
)
SIGNATURE: Final = _optional(
    "a signature of the model",
    "no signature of a model was given (--signature)",
    lambda case: case.signature is not None,
)
OPENINGS: Final = _optional(
    "numbers of units",
    "no member opened its commitment to the number of its units",
    lambda case: bool(case.bundle.openings),
)
