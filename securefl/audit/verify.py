"""An audit: every check on a bundle, offline, against the keys of the agreement alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from securefl.audit.bundle.bundle import Bundle, first_fault, parse, read_object
from securefl.audit.bundle.case import AuditContext, Log
from securefl.audit.bundle.findings import SEVERITY, Finding, Verdict, failed, passed, skipped
from securefl.audit.bundle.inputs import read_bundle
from securefl.audit.checks.registry import CHECKS, NOT_PROVED, SCHEMA, SCHEMA_REMEDY
from securefl.consortium.agreement.signatures import SignedAgreement

EXIT_CODES: Mapping[Verdict, int] = {"pass": 0, "not checked": 0, "warn": 3, "fail": 1}
_FORM = "The form"


@dataclass(frozen=True)
class Checked:
    """One check with its verdict.

    Attributes:
        name: Of the check.
        group: Under which it is shown.
        verdict: "pass", "not checked", "warn" or "fail".
        reason: One line.
        where: The entry, round or member that it is about.
        remedy: What to do; empty where it passed.
    """

    name: str
    group: str
    verdict: Verdict
    reason: str
    where: str | None
    remedy: str


@dataclass(frozen=True)
class Audit:
    """What an audit comes to.

    Attributes:
        source: The bundle's file.
        run: Names the run; None where the bundle cannot be read.
        agreement: Digest of the agreement that counts.
        checks: In the order of the registry.
    """

    source: str
    run: str | None
    agreement: str | None
    checks: tuple[Checked, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; what could not be checked counts as neither good nor bad."""
        found: set[Verdict] = {check.verdict for check in self.checks} - {"not checked"}
        return max(found, key=SEVERITY.index, default="pass")

    @property
    def exit_code(self) -> int:
        """What the command line exits with."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """JSON values for programs."""
        return {
            "verdict": self.verdict,
            "bundle": self.source,
            "run": self.run,
            "agreement": self.agreement,
            "checks": [asdict(check) for check in self.checks],
            "not_proved": list(NOT_PROVED),
        }


def verify_file(
    path: Path,
    *,
    agreement: SignedAgreement | None = None,
    other: Path | None = None,
    now: datetime | None = None,
) -> Audit:
    """Audit the bundle in a file.

    Args:
        path: The bundle; transcripts are looked for beside it.
        agreement: As the auditor has it from elsewhere.
        other: Another bundle, of the same run or of another one on the same data.
        now: The auditor's clock.

    Raises:
        BundleError: If a file is no bundle at all, or the other bundle is damaged.
    """
    tree = read_object(path)
    second = None if other is None else read_bundle(other)
    try:
        bundle = parse(tree)
    except ValidationError as error:
        return _unreadable(str(path), *first_fault(error))
    return verify(
        bundle, source=str(path), folder=path.parent, agreement=agreement, other=second, now=now
    )


def verify(
    bundle: Bundle,
    *,
    source: str = "bundle",
    folder: Path | None = None,
    agreement: SignedAgreement | None = None,
    other: Bundle | None = None,
    now: datetime | None = None,
) -> Audit:
    """Audit a bundle; see `verify_file`."""
    case = AuditContext(
        log=Log(bundle),
        now=now or datetime.now(UTC),
        folder=folder,
        pinned=agreement,
        other=None if other is None else Log(other),
    )
    form = Checked(SCHEMA, _FORM, *_fields(passed("every field is what it should be")), remedy="")
    results = tuple(
        Checked(
            check.name,
            check.group,
            *_fields(finding := check.run(case)),
            remedy="" if finding.verdict == "pass" else check.remedy,
        )
        for check in CHECKS
    )
    digest = case.standing.digest.hex() if case.standing else None
    return Audit(source, bundle.run, digest, (form, *results))


def _unreadable(source: str, reason: str, where: str) -> Audit:
    form = Checked(SCHEMA, _FORM, *_fields(failed(reason, where)), remedy=SCHEMA_REMEDY)
    not_run = skipped("the bundle is not in the agreed form")
    rest = (Checked(c.name, c.group, *_fields(not_run), remedy="") for c in CHECKS)
    return Audit(source, None, None, (form, *rest))


def _fields(finding: Finding) -> tuple[Verdict, str, str | None]:
    return finding.verdict, finding.reason, finding.where
