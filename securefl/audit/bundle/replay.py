"""Replay of the transcripts in a bundle: recompute every sum from what members signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from securefl.audit.bundle.bundle import MOST_COORDINATES
from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Finding, failed, lacking, passed, warned
from securefl.audit.bundle.transcripts import read_beside, read_transcript
from securefl.consortium.agreement.context import Consortium
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.aggregation.session_parameters import session_params
from securefl.ml.vectors import FloatVector, model_digest
from securefl_protocols.primitives.errors import ProtocolError, RemoteProtocolError
from securefl_protocols.session.replay import replay
from securefl_protocols.wire.transcript import Transcript


@dataclass(frozen=True)
class ReplayedRound:
    """Result of replaying one transcript.

    Attributes:
        number: Number of the round.
        fault: Difference from what was recorded; empty if there is none.
        survivors: Members whose inputs are in the sum.
        change: Decoded mean change, float64 [d]; None if the transcript does not replay.
    """

    number: int
    fault: str
    survivors: tuple[str, ...] = ()
    change: npt.NDArray[np.float64] | None = field(default=None, repr=False)


# Two checks need the replay, which takes most of an audit's time.
@lru_cache(maxsize=1)
def replayed_rounds(case: AuditContext) -> tuple[ReplayedRound, ...]:
    """Replay every round whose transcript file is present, in order."""
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
            if _size(transcript) < 2 * case.bundle.claims.dimension:
                # A claim of many coordinates must not make the auditor's machine allocate them.
                yield ReplayedRound(file.round, "the transcript is smaller than one masked model")
                continue
            if outcomes is None or releases is None:
                yield ReplayedRound(file.round, "no member recorded this round")
                continue
            # Plan, cohort and context are recomputed from the agreement and from entries that
            # members signed. Taken from the transcript, they would prove nothing about this run.
            model = bytes.fromhex(releases[0][1].model_before)
            cohort = agreed_cohort(consortium.config, consortium.roster.names, file.round)
            params = session_params(consortium, cohort, case.bundle.claims.dimension)
            result = replay(
                transcript,
                plan=params.plan,
                roster=consortium.part(cohort),
                context=params.context,
                model=model,
            )
            decoded = params.decode(result.total, result.opened)
        except ProtocolError as error:
            yield ReplayedRound(file.round, f"the transcript does not replay: {error}")
            continue
        survivors = tuple(cohort[index] for index in result.survivors)
        fault = ""
        if transcript.round[0] != file.round:
            fault = f"the transcript is of round {transcript.round[0]}"
        elif any(outcome.survivors != survivors for _, outcome in outcomes.values()):
            fault = f"the sum is over {', '.join(survivors)}, and others were recorded"
        yield ReplayedRound(file.round, fault, survivors, decoded.mean)


def _size(transcript: Transcript) -> int:
    return sum(len(message) for step in transcript.messages for message in step.values())


def models_follow(case: AuditContext, rounds: Sequence[ReplayedRound]) -> Finding:
    """Verify that the recorded models follow from the start model by the replayed changes."""
    shared = _start_model(case)
    if isinstance(shared, Finding):
        return shared
    optimizer = ServerOptimizer(case.agreement.agreement.config.server, shared.shape[0])
    found = {replayed.number: replayed for replayed in rounds}
    for number, outcomes in case.log.outcomes.items():
        accepted = shared, optimizer.pack()
        change = found[number].change if number in found else None
        if change is None:
            return lacking(
                "transcripts of the sums",
                "without this sum, the models cannot be followed",
                f"round {number}",
            )
        if change.shape != shared.shape:
            return failed("the sum has another length than the model", f"round {number}")
        shared = optimizer.apply(shared, change)
        digest = model_digest(shared).hex()
        for line, outcome in outcomes.values():
            if outcome.model_after != digest:
                return failed("the recorded model does not follow from the sum", line.where)
        if case.log.rejects(number):  # the next round begins where this one did
            shared = accepted[0]
            optimizer.unpack(accepted[1])
    return passed(f"{len(case.log.outcomes):,} models, each recomputed from the one before")


def _start_model(case: AuditContext) -> FloatVector | Finding:
    """Return the model before the first round, float32 [d], or a finding if it is invalid."""
    name = case.bundle.claims.start_model
    assert name is not None
    try:
        content = read_beside(case.folder, name, 4 * MOST_COORDINATES)
    except RemoteProtocolError as error:
        return failed(f"the start model cannot be read: {error}", name)
    if content is None:
        return warned("the file of the start model is missing", name)
    shared = np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4").astype(np.float32)
    first = min(case.log.releases, default=0)
    if any(
        release.model_before != model_digest(shared).hex()
        for _, release in case.log.releases.get(first, [])
    ):
        return failed("this is not the model that the members started from", name)
    return shared
