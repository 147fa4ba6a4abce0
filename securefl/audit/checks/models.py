"""Checks of the models: each from the one before, and the one that was handed out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securefl.audit.bundle.bundle import MOST_COORDINATES
from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Finding, failed, lacking, passed, warned, worst_of
from securefl.audit.bundle.transcripts import read_beside
from securefl.ml.vectors import model_digest
from securefl_protocols.primitives.errors import RemoteProtocolError


def ended_with(case: AuditContext) -> dict[int, str]:
    """Return the digest of the model that each agreed round ended with."""
    last = case.agreement.agreement.config.rounds
    return {
        number: next(iter(outcomes.values()))[1].model_after
        for number, outcomes in case.log.outcomes.items()
        if 1 <= number <= last
    }


def model_chain(case: AuditContext) -> Finding:
    """Every round started from the model that the round before ended with, at every member."""
    ended, claimed = ended_with(case), case.bundle.claims.model

    def faults() -> Iterator[Finding]:
        yield from _other_start(case)
        yield from _broken_chain(case, ended)
        if claimed is None:
            yield lacking(
                "the model handed out", "the bundle names no model as the result", "claims"
            )
        elif claimed not in ended.values():
            yield failed("the model handed out is not one that a round ended with", "claims")

    return worst_of(faults(), passed(f"{len(ended):,} models, each from the one before"))


def _other_start(case: AuditContext) -> Iterator[Finding]:
    """Yield the members that computed another start from the agreement than was trained."""
    trained = {release.model_before for _, release in case.log.releases.get(1, [])}
    given = _start_digest(case)
    first = trained if given is None else {*trained, given}
    for line, start in case.log.starts.values():
        if start.start_model is not None and first - {start.start_model}:
            yield failed(
                "the first round began from another model than the agreed start", line.where
            )


def _broken_chain(case: AuditContext, ended: dict[int, str]) -> Iterator[Finding]:
    """Yield the releases that start from another model than the round before ended with.

    The first round starts from the model that the bundle names; where its file is missing, members
    are still compared with each other.
    """
    first = _start_digest(case)
    for number, releases in sorted(case.log.releases.items()):
        same = releases[0][1].model_before
        expected = (first or same) if number == 1 else ended.get(number - 1)
        for line, release in releases:
            if expected is None:
                yield failed(
                    f"no member signed the end of round {number - 1}, from which this one started",
                    line.where,
                )
            elif release.model_before != expected:
                yield failed(
                    "the member trained another model than the last round ended with", line.where
                )


def model_given(case: AuditContext) -> Finding:
    """The model that the auditor was given is the one that the run ended with.

    The digest covers the values in their order, and no names or shapes: those follow from the
    agreed configuration, and a file states the order itself.
    """
    ended, given = ended_with(case), case.model
    rounds = [number for number, digest in ended.items() if digest == given]
    if not rounds:
        return failed("no round ended with this model", "model")
    if given != case.bundle.claims.model:
        return warned(f"this is the model of round {rounds[-1]}, and not the result", "model")
    return passed(f"the model of round {rounds[-1]}, digest {str(given)[:16]}…")


def _start_digest(case: AuditContext) -> str | None:
    """Return the digest of the first model; None where its file is missing or cannot be read."""
    name = case.bundle.claims.start_model
    try:
        content = None if name is None else read_beside(case.folder, name, 4 * MOST_COORDINATES)
    except RemoteProtocolError:
        return None  # reported by `models_from_sums`
    if content is None:
        return None
    return model_digest(np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4")).hex()
