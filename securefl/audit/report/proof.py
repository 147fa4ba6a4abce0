"""The audit section of the report: verdicts, and the commands that reproduce them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from securefl.audit.bundle.bundle import Bundle
from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.explain import Explanation, explain
from securefl.audit.export import bundle_of
from securefl.audit.report.rounds import Paths
from securefl.audit.report.view_model import Figures, Section
from securefl.audit.verify import Audit, verify
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.consortium.agreement.signatures import SignedAgreement
from securefl.consortium.ledger.events import Charging, SignedEntry
from securefl.federation.runs.directory import MODEL, RunDirectory

_SHOWN: Final = {"pass": "✓ pass", "warn": "! doubtful", "fail": "✗ fail"}
_VERDICTS: Final = {
    "pass": "Every check that could be made passes.",
    "incomplete": "Nothing is proved wrong, but something that the agreement calls for is missing.",
    "warn": "Nothing is proved wrong, but something is doubtful or missing.",
    "fail": "Something in this run is provably wrong.",
}


@dataclass(frozen=True)
class Proof:
    """A run's audit at the time of the report.

    Attributes:
        audit: Results of the checks.
        paths: Signed epsilon of each member over the life of its data, by round.
        story: What the signed entries say, in figures.
        digests: By name, the digests that tie this page to a run.
    """

    audit: Audit
    paths: Paths
    story: Explanation | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


def prove(directory: RunDirectory) -> Proof | None:
    """Audit a run in its directory; None if it has no ledger.

    Raises:
        RunDirectoryError: If its ledger is damaged.
    """
    if not directory.ledger_path.exists():
        return None
    return proof_of(bundle_of(directory.path), str(directory.path), directory.path)


def proof_of(
    bundle: Bundle,
    source: str,
    folder: Path | None,
    *,
    agreement: SignedAgreement | None = None,
    now: datetime | None = None,
) -> Proof:
    """Audit a bundle.

    Args:
        bundle: The bundle.
        source: Its name, for findings.
        folder: Folder of the files that it names; None if there are none.
        agreement: The agreement, obtained independently of the bundle.
        now: Time of the audit; the current time if not given.
    """
    audit = verify(bundle, source=source, folder=folder, agreement=agreement, now=now)
    return Proof(audit, _paths(bundle.entries), explain(bundle), _digests(bundle))


def _digests(bundle: Bundle) -> dict[str, str]:
    """Return digests that every later bundle of the run has as well."""
    head = bundle.heads[-1].head.head if bundle.heads else None
    found = {
        "Run": bundle.run,
        "Agreement, fingerprint": agreement_fingerprint(bundle.agreement.agreement),
        "Released model": bundle.claims.model or "not named",
    }
    return found | ({f"Log of {head.size:,} entries, root": head.root} if head else {})


def _paths(entries: Iterable[SignedEntry]) -> Paths:
    found: dict[str, list[tuple[int, float]]] = {}
    for signed in entries:
        event = signed.entry.event
        if isinstance(event, Charging) and event.epsilon_after is not None:
            found.setdefault(signed.entry.member, []).append((event.round, event.epsilon_after))
    return found


def section(proof: Proof | None, run: Path) -> Section:
    """The audit for a reader, and the commands that repeat it."""
    if proof is None:
        return Section(
            anchor="audit",
            title="What an audit says",
            paragraphs=("This run wrote no ledger, so nothing of it can be verified.",),
        )
    binding = Figures(
        "What this page is about", ("", "Digest"), tuple(proof.digests.items()), marks=("pass",) * 4
    )
    checks = [check for check in proof.audit.checks if check.verdict != "not checked"]
    left = [check for check in proof.audit.checks if check.verdict == "not checked"]
    tables = [
        Figures(
            f"{len(checks)} checks on what the retailers signed",
            ("Check", "Verdict", "Why"),
            tuple((check.name, _SHOWN[check.verdict], check.reason) for check in checks),
            marks=tuple(check.verdict for check in checks),
        )
    ]
    if left:
        rows = tuple((check.name, check.reason) for check in left)
        marks = ("unchecked",) * len(rows)
        tables.append(Figures("Not checked", ("Check", "Why not"), rows, marks=marks))
    bundle, model = "bundle.json", shlex.quote(str(run / MODEL))
    return Section(
        anchor="audit",
        title="What an audit says",
        paragraphs=(
            *([proof.audit.answer] if proof.audit.answer else []),
            _VERDICTS[proof.audit.verdict],
            (
                "An auditor who trusts nobody, this page included, repeats it with these commands,"
                " and the agreement as a member gave it to them:"
            ),
        ),
        commands=(
            f"securefl audit export {shlex.quote(str(run))} --out {bundle}",
            f"securefl audit verify {bundle} --agreement agreement.toml --model {model}",
        ),
        tables=(*([binding] if proof.digests else []), *tables),
    )


def not_proved() -> Section:
    """Return the section on what an audit does not prove."""
    return Section(anchor="limits", title="What this does not prove", points=NOT_PROVED)
