"""Checks of the masked sums: signed transcripts, their replay, and the models that follow.

Replay needs torch for the model's arithmetic; it is imported only if the bundle has transcripts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from securefl.audit.bundle.bundle import TranscriptFile
from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Finding, failed, lacking, passed, warned, worst_of
from securefl_protocols.primitives.errors import RemoteProtocolError

if TYPE_CHECKING:
    from securefl.audit.bundle.replay import ReplayedRound
from securefl.audit.bundle.transcripts import read_transcript


def signed_transcripts(case: AuditContext) -> dict[int, str]:
    """Return the digests of the transcripts that members signed, by round."""
    return {
        number: event.transcript
        for number, outcomes in case.log.outcomes.items()
        for _, event in outcomes.values()
        if event.transcript is not None
    }


def transcripts_signed(case: AuditContext) -> Finding:
    """Each masked sum has a transcript that the members signed, and the file is that transcript."""
    signed = signed_transcripts(case)
    files = {file.round: file for file in case.bundle.transcripts}

    def faults() -> Iterator[Finding]:
        if len(files) < len(case.bundle.transcripts):
            yield failed("two transcripts are named for one round", "transcripts")
        for number in files.keys() - case.log.outcomes.keys():
            yield failed("a transcript is of a round that did not end", f"round {number}")
        for number in case.log.outcomes:
            if number not in signed:
                yield warned("the members signed no transcript of the sum", f"round {number}")
            # The archive drops old transcripts for lack of room, so this is SKIPPED and not WARN;
            # the signed digest still fixes what a later copy has to be.
            elif number not in files:
                yield lacking(
                    "transcripts of the sums",
                    "the coordinator kept no transcript",
                    f"round {number}",
                )
            else:
                yield from _file_faults(case, files[number], signed[number])

    return worst_of(faults(), passed(f"{len(files):,} transcripts"))


def _file_faults(case: AuditContext, file: TranscriptFile, signed: str) -> Iterator[Finding]:
    try:
        transcript = read_transcript(case, file)
    except RemoteProtocolError as error:
        yield failed(str(error), file.file)
        return
    if transcript is None:
        yield warned("the file of the transcript is missing", file.file)
    elif not signed == file.digest == transcript.digest().hex():
        yield failed("this is not the transcript that the members signed", file.file)


def sums_replayed(case: AuditContext) -> Finding:
    """Replayed from what the members signed, each sum is over the survivors that were recorded."""
    replays = _replays(case)
    faults = (failed(replay.fault, f"round {replay.number}") for replay in replays if replay.fault)
    survivors = {name for replay in replays for name in replay.survivors}
    return worst_of(
        faults,
        passed(f"{len(replays):,} sums, over {len(survivors)} members, signature by signature"),
    )


def models_from_sums(case: AuditContext) -> Finding:
    """Each replayed sum, decoded and applied, gives the model that the members recorded."""
    from securefl.audit.bundle.replay import models_follow  # NumPy waits

    return models_follow(case, _replays(case))


def _replays(case: AuditContext) -> tuple[ReplayedRound, ...]:
    from securefl.audit.bundle.replay import replayed_rounds  # NumPy waits

    return replayed_rounds(case)
