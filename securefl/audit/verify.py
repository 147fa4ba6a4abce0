"""Verification of a bundle: every check, offline, with the keys of the agreement only."""

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
    """Result of one check.

    Attributes:
        name: Name of the check.
        group: Group in which it is displayed.
        verdict: "pass", "not checked" (skipped), "warn" or "fail".
        reason: One line.
        where: The entry, round or member concerned.
        remedy: How to resolve it; empty for a pass.
    """

    name: str
    group: str
    verdict: Verdict
    reason: str
    where: str | None
    remedy: str


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        source: Path of the bundle.
        run: Run id, hex; None if the bundle cannot be parsed.
        agreement: Digest of the agreement that was used, hex.
        checks: Results in the order of the registry.
    """

    source: str
    run: str | None
    agreement: str | None
    checks: tuple[Checked, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict; a skipped check counts neither for nor against the run."""
        found: set[Verdict] = {check.verdict for check in self.checks} - {"not checked"}
        return max(found, key=SEVERITY.index, default="pass")

    @property
    def exit_code(self) -> int:
        """Return the exit code of the command line."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """Return the audit as JSON values."""
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
        path: The bundle; transcripts are read from the same folder.
        agreement: The agreement, obtained independently of the bundle.
        other: Another bundle, of the same run or of another run on the same data.
        now: Time of the audit; the current time if not given.

    Raises:
        BundleError: If a file is not a bundle, or the other bundle is damaged.
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
