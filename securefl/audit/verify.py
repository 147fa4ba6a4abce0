"""Verification of a bundle: every check, offline, with the keys of the agreement only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from securefl.audit.answer import answer, protected
from securefl.audit.bundle.bundle import Bundle, first_fault, parse, read_object
from securefl.audit.bundle.case import AuditContext, Log, OtherLog
from securefl.audit.bundle.findings import (
    SEVERITY,
    Finding,
    Overall,
    Verdict,
    failed,
    lacking,
    passed,
    skipped,
)
from securefl.audit.bundle.inputs import ReleasedModel, read_bundle, released_model
from securefl.audit.bundle.model_signature import ModelSignature, read_signature
from securefl.audit.bundle.time_limit import TimeLimitError, deadline, time_left
from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.checks.registry import CHECKS, SCHEMA, SCHEMA_REMEDY
from securefl.consortium.agreement.model import agreement_digest
from securefl.consortium.agreement.signatures import SignedAgreement, standing
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.errors import AgreementError, ConfigError, InputError

EXIT_CODES: Mapping[Overall, int] = {"pass": 0, "incomplete": 3, "warn": 3, "fail": 1}
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
        lacks: The fact that is missing, where the agreement calls for it.
    """

    name: str
    group: str
    verdict: Verdict
    reason: str
    where: str | None
    remedy: str
    lacks: str | None = None


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        source: Path of the bundle.
        run: Run id, hex; None if the bundle cannot be parsed.
        agreement: Digest of the agreement that was used, hex.
        checks: Results in the order of the registry.
        answer: What follows from them, in one paragraph; empty if the bundle cannot be parsed.
        protected: Whether noise protects anyone by the agreement; None if it cannot be parsed.
    """

    source: str
    run: str | None
    agreement: str | None
    checks: tuple[Checked, ...]
    answer: str = ""
    protected: bool | None = None

    @property
    def verdict(self) -> Overall:
        """Return the worst verdict; "incomplete" where none is bad and a fact is missing.

        A check that had nothing to check counts neither for nor against the run.
        """
        found = {check.verdict for check in self.checks}
        if "fail" in found:
            return "fail"
        if "warn" in found:
            return "warn"
        return "incomplete" if self.missing else "pass"

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the facts that the agreement calls for and that are not there."""
        return tuple(dict.fromkeys(check.lacks for check in self.checks if check.lacks))

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
            "answer": self.answer,
            "protected": self.protected,
            "missing": list(self.missing),
            "checks": [asdict(check) for check in self.checks],
            "not_proved": list(NOT_PROVED),
        }


def verify_file(
    path: Path,
    *,
    agreement: SignedAgreement | None = None,
    others: Sequence[Path] = (),
    model: Path | None = None,
    signature: Path | None = None,
    now: datetime | None = None,
) -> Audit:
    """Audit the bundle in a file.

    Args:
        path: The bundle; transcripts are read from the same folder.
        agreement: The agreement, obtained independently of the bundle.
        others: Other bundles, of the same run or of other runs on the same data. Each is audited
            first, within its share of half of the time that is left, and no error in one of them
            is one of this bundle. They only lower the verdict, by what is signed under keys of the
            agreement.
        model: A released model, to be compared with the one that the run ended with.
        signature: A signature of the model's file, by a party of the agreement.
        now: Time of the audit; the current time if not given.

    Raises:
        BundleError: If a file is not a bundle, or another bundle is damaged.
        InputError: If the model's file is none, or its signature.
    """
    given, signed = _model(model, signature)
    tree = read_object(path)
    beside = [OtherBundle(read_bundle(other), str(other), other.parent) for other in others]
    try:
        bundle = parse(tree)
    except ValidationError as error:
        return _unreadable(str(path), *first_fault(error))
    return verify(
        bundle,
        source=str(path),
        folder=path.parent,
        agreement=agreement,
        others=beside,
        model=None if given is None else given.values,
        model_task=None if given is None else given.task,
        model_layout=None if given is None else given.layout,
        signature=signed,
        now=now,
    )


def _model(
    model: Path | None, signature: Path | None
) -> tuple[ReleasedModel | None, ModelSignature | None]:
    """Return what a model's file says, and its signature with what is wrong with it."""
    if model is None:
        if signature is not None:
            raise InputError(f"{signature}: which file it signs has to be given (--model)")
        return None, None
    given = released_model(model)
    found = None if signature is None else read_signature(signature)
    if found is not None and found.fault is None and found.digest != given.content.hex():
        found = replace(found, fault="it signs another file")
    return given, found


@dataclass(frozen=True)
class OtherBundle:
    """A bundle beside the audited one.

    Attributes:
        bundle: The bundle.
        source: Its path, for findings.
        folder: Folder of the files that it names.
    """

    bundle: Bundle
    source: str = "the other bundle"
    folder: Path | None = None


def verify(
    bundle: Bundle,
    *,
    source: str = "bundle",
    folder: Path | None = None,
    agreement: SignedAgreement | None = None,
    others: Sequence[OtherBundle] = (),
    model: str | None = None,
    model_task: str | None = None,
    model_layout: str | None = None,
    signature: ModelSignature | None = None,
    now: datetime | None = None,
) -> Audit:
    """Audit a bundle; see `verify_file`. a model is given as its digests, hex, and its task."""
    at = now or datetime.now(UTC)
    case = AuditContext(Log(bundle), at, folder, agreement)
    case = replace(case, model=model, model_task=model_task, model_layout=model_layout)
    case = replace(case, signature=signature)
    left = time_left()
    share = None if left is None else left / 2 / max(len(others), 1)
    case = replace(case, others=tuple(_audited(other, case, share) for other in others))
    found = _judged(case, source)
    try:
        said = answer(case, found.verdict, found.missing)
    except (ConfigError, LedgerError) as error:
        said = f"What was protected cannot be stated: {error}."
    return replace(found, answer=said, protected=protected(case))


def _judged(case: AuditContext, source: str) -> Audit:
    """Run every check."""
    form = _checked(SCHEMA, _FORM, passed("every field is what it should be"), "")
    digest = case.standing.digest.hex() if case.standing else None
    return Audit(source, case.bundle.run, digest, (form, *_results(case)))


def _results(case: AuditContext) -> Iterator[Checked]:
    """Yield the result of every check; where one ends with an error, its result is missing."""
    for check in CHECKS:
        try:
            found = check.find(case)
        except Exception as error:  # whatever a bundle makes of a check, it passes none by it
            found = lacking(f"a result of {check.name}", f"{type(error).__name__}: {error}")
        yield _checked(check.name, check.group, found, check.remedy)


def _audited(other: OtherBundle, case: AuditContext, seconds: float | None) -> OtherLog:
    """Audit a bundle beside the audited one, under the agreement that the audited one is under."""
    inside, pinned = other.bundle.agreement, case.latest
    same = agreement_digest(inside.agreement) == agreement_digest(pinned.agreement)
    own = AuditContext(Log(other.bundle), case.now, other.folder, pinned if same else None)
    try:
        with nullcontext() if seconds is None else deadline(seconds, "its audit"):
            fault = _fault(own)
    except TimeLimitError as error:
        fault = str(error)
    except Exception as error:  # whatever is wrong there is no fault of this bundle
        fault = f"its audit ended with {type(error).__name__}"
    try:
        keys = standing(pinned).signers
    except AgreementError:
        keys = {}
    return OtherLog(own.log, other.source, fault, keys)


def _fault(case: AuditContext) -> str | None:
    """Return what is worst of a bundle; None if it passes.

    The checks of its signatures come first, and nothing can be worse than a failure: what nobody
    signed is not priced.
    """
    found: list[Checked] = []
    for check in _results(case):
        found.append(check)
        if check.verdict == "fail":
            break
    worst = max(found, key=lambda check: (SEVERITY.index(check.verdict), bool(check.lacks)))
    if worst.verdict == "pass" or (worst.verdict == "not checked" and not worst.lacks):
        return None
    return f"{worst.name}: {worst.reason}"


def _unreadable(source: str, reason: str, where: str) -> Audit:
    form = _checked(SCHEMA, _FORM, failed(reason, where), SCHEMA_REMEDY)
    not_run = skipped("the bundle is not in the agreed form")
    rest = (_checked(check.name, check.group, not_run, "") for check in CHECKS)
    return Audit(source, None, None, (form, *rest))


def _checked(name: str, group: str, finding: Finding, remedy: str) -> Checked:
    return Checked(
        name,
        group,
        finding.verdict,
        finding.reason,
        finding.where,
        remedy="" if finding.verdict == "pass" else remedy,
        lacks=finding.lacks,
    )
