"""Replays the transcripts of a bundle: the sums, without keys and without the coordinator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Finding, failed, passed, skipped, warned
from securefl.audit.bundle.transcripts import read_transcript
from securefl.consortium.agreement.context import Consortium
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.aggregation.session_parameters import session_params
from securefl.ml.parameters import FloatVector, model_digest
from securefl_protocols.primitives.errors import ProtocolError
from securefl_protocols.session.replay import replay


@dataclass(frozen=True)
class ReplayedRound:
    """What a transcript comes to.

    Attributes:
        number: Of the round.
        fault: Why it does not replay to what was recorded; empty if it does.
        survivors: Whose inputs are in the sum.
        change: The decoded mean change, float64 [d]; None with a fault.
    """

    number: int
    fault: str
    survivors: tuple[str, ...] = ()
    change: npt.NDArray[np.float64] | None = field(default=None, repr=False)


@lru_cache(maxsize=1)
def replayed_rounds(case: AuditContext) -> tuple[ReplayedRound, ...]:
    """Every round whose transcript lies beside the bundle, in order."""
    return tuple(_replayed(case))


def _replayed(case: AuditContext) -> Iterator[ReplayedRound]:
    consortium = Consortium(case.agreement, bytes.fromhex(case.bundle.run))
    for file in sorted(case.bundle.transcripts, key=lambda file: file.round):
        outcomes = case.log.outcomes.get(file.round)
        releases = case.log.releases.get(file.round)
        try:
            transcript = read_transcript(case, file)
            if transcript is None:
                continue
            if outcomes is None or releases is None:
                yield ReplayedRound(file.round, "no member recorded this round")
                continue
            model = bytes.fromhex(releases[0][1].model_before)
            cohort = agreed_cohort(consortium.config, consortium.roster.names, file.round)
            terms = session_params(consortium, cohort, case.bundle.claims.dimension)
            result = replay(
                transcript,
                plan=terms.plan,
                roster=consortium.part(cohort),
                context=terms.context,
                model=model,
            )
            decoded = terms.decode(result.total, result.opened)
        except ProtocolError as error:
            yield ReplayedRound(file.round, f"the transcript does not replay: {error}")
            continue
        survivors = tuple(cohort[index] for index in result.survivors)
        fault = ""
        if transcript.round[0] != file.round:
            fault = f"the transcript is of round {transcript.round[0]}"
        elif any(outcome.survivors != survivors for _, outcome in outcomes.values()):
            fault = f"the sum is over {', '.join(survivors)}, and others were recorded"
        yield ReplayedRound(file.round, fault, survivors, decoded.mean[:-1])


def models_follow(case: AuditContext, rounds: Sequence[ReplayedRound]) -> Finding:
    """Whether the models are the start with one replayed change after the other applied."""
    shared = _start_model(case)
    if isinstance(shared, Finding):
        return shared
    optimizer = ServerOptimizer(case.agreement.agreement.config.server, shared.shape[0])
    found = {replayed.number: replayed for replayed in rounds}
    for number, outcomes in case.log.outcomes.items():
        change = found[number].change if number in found else None
        if change is None:
            return skipped("without this sum, the models cannot be followed", f"round {number}")
        if change.shape != shared.shape:
            return failed("the sum has another length than the model", f"round {number}")
        shared = optimizer.apply(shared, change)
        digest = model_digest(shared).hex()
        for line, outcome in outcomes.values():
            if outcome.model_after != digest:
                return failed("the recorded model does not follow from the sum", line.where)
    return passed(f"{len(case.log.outcomes):,} models, each recomputed from the one before")


def _start_model(case: AuditContext) -> FloatVector | Finding:
    """The model before the first round, float32 [d], or what is wrong with it."""
    name = case.bundle.claims.start_model
    assert name is not None
    assert case.folder is not None
    try:
        content = (case.folder / name).read_bytes()
    except OSError as error:
        return warned(f"the start model cannot be read: {error.strerror}", name)
    shared = np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4").astype(np.float32)
    first = min(case.log.releases, default=0)
    if any(
        release.model_before != model_digest(shared).hex()
        for _, release in case.log.releases.get(first, [])
    ):
        return failed("this is not the model that the members started from", name)
    return shared
