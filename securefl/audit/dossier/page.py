"""The dossier of a run as a page, as JSON and as a record of the deployments registry."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from securefl._version import __version__
from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.dossier.competition import notes
from securefl.audit.dossier.data_protection import annex, nist
from securefl.audit.dossier.deployment import Entry, entry
from securefl.audit.dossier.evidence import Answer, Evidence, figure, gather
from securefl.audit.dossier.parties import messages, views
from securefl.audit.report.page import render
from securefl.audit.report.summary_cards import Card
from securefl.audit.report.view_model import Figures, Report, Section
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.federation.runs.directory import MODEL
from securefl.ml.tensor_io import refuse_taken, write_folder
from securefl.untrusted.files import check_folder

FORMAT: Final = "securefl-dossier/1"
PAGE, DATA, RECORD = "dossier.html", "dossier.json", "deployment.yaml"
FOLDER: Final = "dossier"
_BASES: Final = (
    "Each answer says what it rests on. Signed: entries that the members signed under the"
    " agreement. By design: how the program is built; the entries hold a digest of its sources."
    " Unsigned: a file that no member signed. To be stated: the run cannot answer it, the members"
    " have to."
)
_WRONG: Final = (
    "The audit found something provably wrong in this run. Do not rely on anything below. "
)


@dataclass(frozen=True)
class Dossier:
    """The dossier of one run.

    Attributes:
        evidence: What it was written from.
        record: The record for the registry; None where the run has no bound to state.
        folder: The new folder for it.
    """

    evidence: Evidence
    record: Entry | None
    folder: Path

    @property
    def exit_code(self) -> int:
        """Return the exit code of the audit that the dossier rests on."""
        return self.evidence.proof.audit.exit_code

    @property
    def summary(self) -> str:
        """Return the answer of the audit, with a warning before it where something is wrong."""
        audit = self.evidence.proof.audit
        return f"{_WRONG if audit.verdict == 'fail' else ''}{audit.answer}"

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the commands that repeat the audit."""
        run, bundle = self.evidence.run, "bundle.json"
        model = shlex.quote(str(run / MODEL))
        return (
            f"securefl audit export {shlex.quote(str(run))} --out {bundle}",
            f"securefl audit verify {bundle} --agreement agreement.toml --model {model}",
            f"securefl-verifier verify {bundle} --agreement agreement.toml --model {model}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the dossier as JSON values."""
        evidence = self.evidence
        audit = evidence.proof.audit
        return {
            "format": FORMAT,
            "made_by": f"securefl {__version__}",
            "run": evidence.bundle.run,
            "fingerprint": agreement_fingerprint(evidence.agreement),
            "task": evidence.config.task,
            "verdict": audit.verdict,
            "missing": list(audit.missing),
            "answer": self.summary,
            "bases": _BASES,
            "parties": [asdict(view) for view in views(evidence)],
            "messages": [
                dict(zip(("question", "answer", "price"), row, strict=True))
                for row in messages(evidence)
            ],
            "data_protection": _listed(annex(evidence)),
            "nist_sp_800_226": _listed(nist(evidence)),
            "competition": _listed(notes(evidence)),
            "deployment": None if self.record is None else self.record.model_dump(mode="json"),
            "verify": {"digests": dict(evidence.proof.digests), "commands": list(self.commands)},
            "not_proved": list(NOT_PROVED),
        }


def dossier_of(
    run: Path,
    attack: Path | None = None,
    out: Path | None = None,
    agreement: Path | None = None,
) -> Dossier:
    """Return the dossier of a finished run.

    Args:
        run: The run's directory.
        attack: A report of `securefl audit attack`; see `gather`.
        out: A new folder; `dossier` in the run's directory if not given.
        agreement: The agreement as a member gave it to the reader; see `gather`.

    Raises:
        RunDirectoryError: If the directory holds no finished run with a ledger, or the folder
            exists and is not empty.
        InputError: If the attack's report is none, or no folder can be made there.
    """
    folder = out or run / FOLDER
    refuse_taken(folder)
    check_folder(folder)
    evidence = gather(run, attack, agreement)
    return Dossier(evidence, entry(evidence), folder)


def write_dossier(dossier: Dossier) -> dict[str, Path]:
    """Write a dossier into its folder, all of it or nothing.

    Returns:
        Name of each file to its path.

    Raises:
        RunDirectoryError: If the folder exists and is not empty, or cannot be written.
    """
    text = json.dumps(dossier.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files = {PAGE: render(page(dossier)), DATA: text}
    if dossier.record is not None:
        files[RECORD] = dossier.record.to_text()
    write_folder(dossier.folder, {name: content.encode() for name, content in files.items()})
    return {name: dossier.folder / name for name in files}


def page(dossier: Dossier) -> Report:
    """Return the view model of the page, which the report's template renders."""
    evidence = dossier.evidence
    return Report(
        title=f"Dossier: federated {evidence.config.task}",
        subtitle=(
            f"Agreement '{evidence.agreement.name}', {len(evidence.agreement.members)} members,"
            f" run {evidence.bundle.run[:16]}, {evidence.story.began} to {evidence.story.ended}"
        ),
        conclusion=dossier.summary,
        run=evidence.bundle.run,
        cards=_cards(evidence),
        sections=(
            _parties(evidence),
            _asked("data-protection", "Annex on data protection", _OPINION, annex(evidence)),
            _asked("nist", "The questions of NIST SP 800-226", _PYRAMID, nist(evidence)),
            _asked("competition", "Note on competition law", _COMPETITION, notes(evidence)),
            _registry(dossier.record),
            _verification(dossier),
            Section(anchor="limits", title="What is not proved", points=NOT_PROVED),
        ),
        unsigned=_BASES,
        kind=FOLDER,
    )


_OPINION = (
    "In the order in which EDPB Opinion 28/2024 asks the developer of a model for documentation."
)
_PYRAMID = (
    "In the order of its differential privacy pyramid (Guidelines for Evaluating Differential"
    " Privacy Guarantees, March 2025): epsilon and unit at the top, the collection of data at the"
    " bottom."
)
_COMPETITION = "The facts for an assessment under competition law, by counsel."

_REPEAT = (
    "Get the agreement from a member that you trust and compare its fingerprint by phone. Then"
    " repeat the audit; it needs no network and no data. The last command is the same check by the"
    " small program for auditors."
)


def _listed(answers: Sequence[Answer]) -> list[dict[str, str]]:
    return [asdict(one) for one in answers]


def _cards(evidence: Evidence) -> tuple[Card, ...]:
    audit, loss, story = evidence.proof.audit, evidence.loss, evidence.story
    delicate = evidence.disclosure is None or evidence.disclosure.delicate
    privacy = (
        Card("Are customers protected?", "no", "No noise was added.", unsigned=False)
        if loss is None
        else Card(
            "Are customers protected?",
            f"ε = {figure(loss.run)}",
            f"By this run, for a {evidence.config.privacy.unit} of one member; at most"
            f" {figure(evidence.most_over_life)} over the life of the data.",
            unsigned=False,
        )
    )
    return (
        Card("Does the evidence hold?", audit.verdict, _missing(audit.missing), unsigned=False),
        privacy,
        Card(
            "Is the task delicate?",
            "yes" if delicate else "no",
            f"Between competitors; {story.fewest} members at least in a sum.",
            unsigned=False,
        ),
    )


def _missing(facts: Sequence[str]) -> str:
    return f"Missing: {', '.join(facts)}." if facts else "Nothing is missing that was agreed."


def _parties(evidence: Evidence) -> Section:
    rows = tuple((view.party, view.learns) for view in views(evidence))
    return Section(
        anchor="parties",
        title="What each party can learn",
        tables=(
            Figures(
                f"Task {evidence.config.task}, {evidence.protection.value}",
                ("Party", "Can learn"),
                rows,
                marks=("prose",) * len(rows),
            ),
            Figures(
                "All that leaves a member",
                ("Asked with", "Answers with", "Price"),
                messages(evidence),
                marks=("prose",) * len(messages(evidence)),
            ),
        ),
    )


def _asked(anchor: str, title: str, opening: str, answers: Sequence[Answer]) -> Section:
    rows = tuple((one.question, one.answer, one.basis) for one in answers)
    columns = ("Question", "Answer", "Rests on")
    return Section(
        anchor=anchor,
        title=title,
        tables=(Figures(opening, columns, rows, marks=("prose",) * len(rows)),),
    )


def _registry(record: Entry | None) -> Section:
    if record is None:
        text = "This run has no epsilon to state, so it has no place in the registry."
    else:
        text = (
            f"A draft, {record.url_slug}, is in {RECORD}; what the members have to add is marked in"
            " it. It has the registry's own fields (arXiv:2509.13509). Publish it only if all"
            " members agree."
        )
    return Section(
        anchor="registry", title="Entry for the registry of DP deployments", paragraphs=(text,)
    )


def _verification(dossier: Dossier) -> Section:
    digests = tuple(dossier.evidence.proof.digests.items())
    return Section(
        anchor="verify",
        title="How to verify this",
        paragraphs=(_REPEAT,),
        commands=dossier.commands,
        tables=(
            Figures(
                "What this dossier is about",
                ("", "Digest"),
                digests,
                marks=("prose",) * len(digests),
            ),
        ),
    )
