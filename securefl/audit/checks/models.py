"""Checks of the models: each from the one before, and the one that was handed out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securefl.audit.bundle.bundle import MOST_COORDINATES
from securefl.audit.bundle.case import AuditContext, LogEntry
from securefl.audit.bundle.findings import (
    Finding,
    failed,
    lacking,
    passed,
    skipped,
    warned,
    worst_of,
)
from securefl.audit.bundle.lost_members import end_unsaid
from securefl.audit.bundle.transcripts import read_beside
from securefl.audit.checks.needs import OUTCOMES
from securefl.config.privacy import protects
from securefl.config.vote_rounds import is_voted_on
from securefl.consortium.ledger.events import Outcome, ScoreRelease
from securefl.ml.vectors import model_digest
from securefl_protocols.primitives.errors import RemoteProtocolError

_WORD = "which one is the coordinator's word"
"""Said where no signed entry decides which round's model is the result."""


def ended_with(case: AuditContext) -> dict[int, str]:
    """Return the digest of the model that each agreed round ended with."""
    last = case.agreement.agreement.config.rounds
    return {
        number: next(iter(outcomes.values()))[1].model_after
        for number, outcomes in case.log.outcomes.items()
        if 1 <= number <= last
    }


def model_chain(case: AuditContext) -> Finding:
    """Every round started from the model that the last accepted one ended with, at every member."""
    ended, claimed = ended_with(case), case.bundle.claims.model
    start = _start_content(case)

    def faults() -> Iterator[Finding]:
        yield from _other_start(case, start)
        yield from _other_layouts(case)
        yield from _broken_chain(case, ended, start)
        yield from _false_dimension(case, start)
        if claimed is None:
            yield lacking(
                "the model handed out", "the bundle names no model as the result", "claims"
            )
        elif claimed not in ended.values():
            yield _of_no_round(
                case, claimed, "the model handed out is not one that a round ended with"
            )
        else:
            yield from _other_result(case, ended, claimed)

    said = "" if _result_settled(case) else f"; a round ended with the result, {_WORD}"
    return worst_of(faults(), passed(f"{len(ended):,} models, each from the one before{said}"))


def _of_no_round(case: AuditContext, model: str | None, reason: str) -> Finding:
    """Return the finding on a model that no signed round ended with.

    Where a round's end may be in entries that lost members did not send, it may be that one's,
    unless other entries contradict it.
    """
    rounds = range(1, case.agreement.agreement.config.rounds + 1)
    may_be = (n for n in rounds if end_unsaid(case, n) and not _contradicted(case, n, model))
    unsaid = next(may_be, None)
    if unsaid is None:
        return failed(reason, "claims")
    said = f"{reason}, and of one nobody signed how it ended"
    return lacking(OUTCOMES.fact, said, f"round {unsaid}")


def _contradicted(case: AuditContext, number: int, model: str | None) -> bool:
    """Return whether signed entries say that a round did not end with a model, or is no result."""
    begun = {
        release.model_before
        for later, releases in case.log.releases.items()
        if case.log.last_accepted(later) == number
        for _, release in releases
    }
    scored = {release.model for _, release in case.log.of(ScoreRelease)}
    private = protects(case.agreement.agreement.config.privacy.dp)
    passed_over = private and any(later > number for later in case.log.outcomes)
    return passed_over or any(said and model not in said for said in (begun, scored))


def _result_settled(case: AuditContext) -> bool:
    """Return whether something signed decides which round's model is the result."""
    scored = any(True for _ in case.log.of(ScoreRelease))
    return scored or protects(case.agreement.agreement.config.privacy.dp)


def _other_result(case: AuditContext, ended: dict[int, str], claimed: str) -> Iterator[Finding]:
    """Yield a finding if another model is handed out than signed entries make the result.

    Nobody signs the claims. Scores are of the result alone; under a privacy budget no validation
    chooses among rounds, so the result is the last one's.
    """
    scored = {release.model: line for line, release in case.log.of(ScoreRelease)}
    if scored and claimed not in scored:
        yield failed(
            "another model is handed out than the one that members scored",
            next(iter(scored.values())).where,
        )
    last = case.log.last_accepted(max(ended) + 1)
    if claimed != ended.get(last) and protects(case.agreement.agreement.config.privacy.dp):
        yield failed("under a budget the last round's model is the result, not this one", "claims")
    if all(case.log.rejects(number) for number, model in ended.items() if model == claimed):
        yield failed("the members rejected the model that is handed out", "claims")
    config = case.agreement.agreement.config
    numbers = [number for number, model in ended.items() if model == claimed]
    if config.vote and numbers and not any(is_voted_on(config, number) for number in numbers):
        yield failed("no vote was held on the model that is handed out", "claims")


def _false_dimension(case: AuditContext, start: bytes | None) -> Iterator[Finding]:
    """Yield a finding if the first model is missing, or has another length than is claimed.

    The noise of members that share it is planned by that length.
    """
    named, claimed = case.bundle.claims.start_model, case.bundle.claims.dimension
    if start is not None and len(start) != 4 * claimed:  # float32
        yield failed(
            f"the first model has {len(start) / 4:g} coordinates, claimed are {claimed:,}", "claims"
        )
    elif start is None and (named is None or case.folder is not None):
        yield lacking("the model before the first round", "its file is missing", named or "claims")


def _other_start(case: AuditContext, content: bytes | None) -> Iterator[Finding]:
    """Yield the members that computed another start from the agreement than was trained."""
    trained = {release.model_before for _, release in case.log.releases.get(1, [])}
    first = trained if content is None else {*trained, _digest(content)}
    for line, start in case.log.starts.values():
        if start.start_model is not None and first - {start.start_model}:
            yield failed(
                "the first round began from another model than the agreed start", line.where
            )


def _broken_chain(
    case: AuditContext, ended: dict[int, str], start: bytes | None
) -> Iterator[Finding]:
    """Yield the releases that start from another model than the round before ended with.

    The first round starts from the model that the bundle names; where its file is missing, members
    are still compared with each other.
    """
    rounds = sorted(case.log.releases.items())
    # A round after rejected ones begins where the first did, also where no file says where.
    said = [releases[0][1].model_before for _, releases in rounds[:1]]
    first = said[0] if start is None and said else _digest(start or b"")
    for number, releases in rounds:
        before = case.log.last_accepted(number)
        expected = ended.get(before) if before else first
        for line, release in releases:
            if expected is None:
                reason = f"no member signed the end of round {before}, from which this one started"
                if end_unsaid(case, before):
                    yield lacking(OUTCOMES.fact, reason, line.where)
                else:
                    yield failed(reason, line.where)
            elif release.model_before != expected:
                yield failed(
                    "the member trained another model than the last accepted round ended with",
                    line.where,
                )


def model_given(case: AuditContext) -> Finding:
    """The model that the auditor was given has the values that the run ended with, and its tensors.

    Members sign a digest of the values in their order, and one of names and shapes of the tensors
    that they fill. Of what a file states beside them, the task is agreed.
    """
    agreed = case.agreement.agreement.config.task
    ended, given = ended_with(case), case.model
    rounds = [number for number, digest in ended.items() if digest == given]
    if not rounds:
        return _of_no_round(case, given, "no round ended with this model")
    if case.model_task is not None and case.model_task != agreed:
        return failed(f"the file is of another task than {agreed}, which was agreed", "model")
    signed = _layouts(case)
    if case.model_layout is not None and signed and signed.keys() != {case.model_layout}:
        return failed(
            "its tensors have other names, shapes or places than those that members signed", "model"
        )
    if given != case.bundle.claims.model:
        return warned(f"this is the model of round {rounds[-1]}, and not the result", "model")
    chosen = "" if _result_settled(case) else f"; {_WORD}"
    named = "names and shapes of its tensors are"
    whose = f"{named} those that members signed" if signed else f"{named} the file's word"
    digest = f"digest {str(given)[:16]}…"
    return passed(f"the values of round {rounds[-1]}, {digest}; {whose}{chosen}")


def _layouts(case: AuditContext) -> dict[str, LogEntry]:
    """Return the digests of names and shapes that members signed, each with an entry."""
    ends = case.log.of(Outcome)
    return {outcome.layout: line for line, outcome in ends if outcome.layout is not None}


def _other_layouts(case: AuditContext) -> Iterator[Finding]:
    """Yield a finding if members signed different names and shapes, or some signed none."""
    found = _layouts(case)
    if len(found) > 1:
        line = list(found.values())[-1]
        yield failed("rounds ended with models of different tensors", line.where)
    for line, outcome in case.log.of(Outcome) if found else ():
        if outcome.layout is None:
            yield lacking(
                "names and shapes of each model's tensors", "the member signed none", line.where
            )


def model_signed(case: AuditContext) -> Finding:
    """The signature of that model's file is by a party of the agreement, in its key at the run."""
    signature = case.signature
    if signature is None:
        return skipped("no signature was given")
    if signature.fault is not None:
        return failed(f"the model's signature is void: {signature.fault}", "signature")
    names = [name for name, public in case.parties.items() if public == signature.identity]
    if not names:
        return failed("the model's signature is by no party of the agreement", "signature")
    if names[0] in case.revoked:
        return warned(f"{names[0]} signed, whose key is void by now", "signature")
    return passed(f"signed by {names[0]}")


def _start_content(case: AuditContext) -> bytes | None:
    """Return the bytes of the first model; None where its file is missing or cannot be read."""
    name = case.bundle.claims.start_model
    try:
        return None if name is None else read_beside(case.folder, name, 4 * MOST_COORDINATES)
    except RemoteProtocolError:
        return None  # reported by `models_from_sums`


def _digest(content: bytes) -> str:
    return model_digest(np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4")).hex()
