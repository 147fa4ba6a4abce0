"""What a status file says: every fact with its time, and nothing old that looks new."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from securefl.federation.transport.faults import FAULTS, StandingFaults

FILE: Final = "status.json"
STALE_SECONDS: Final = 10.0
"""A process that runs writes every two seconds; after so many nothing of it is known."""
SUMS_KEPT: Final = 12

Moment = Annotated[float, Field(ge=0, le=253_402_300_799)]
"""Seconds since the epoch, up to the year 9999."""


class Facts(BaseModel):
    """The base of all parts of a status file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class FaultFact(Facts):
    """What stands in the way.

    Attributes:
        code: Its kind; see `FAULTS`.
        says: What is wrong.
        todo: What to do about it.
        since: When it began.
    """

    code: str
    says: str
    todo: str
    since: Moment


class StepFact(Facts):
    """One step of the round that is under way.

    Attributes:
        step: Its name.
        began: When the first member was asked.
        ended: When the last answer was there, or given up; None while it is waited for.
        asked: How many members were asked.
        answered: How many have answered.
        waits: Those that are waited for.
        gone: Those that are no longer, with the reasons.
    """

    step: str
    began: Moment
    ended: Moment | None
    asked: int
    answered: int
    waits: tuple[str, ...]
    gone: dict[str, str]


class SumFact(Facts):
    """What became of the sum of one round.

    Attributes:
        round: The round.
        verdict: Whether its checksum was verified, failed, or there is none to verify.
        members: How many members' inputs it is of; None where this party does not know.
        at: When.
    """

    round: int
    verdict: Literal["verified", "not verified", "no sum", "in the clear"]
    members: int | None
    at: Moment


class ProcessStatus(Facts):
    """What the files of both roles have.

    Attributes:
        written: When the file was written last.
        ended: When the process ended; None while it runs.
        connected: Whether the broker answers; None where it is not known.
        broker_heard: When it answered last; None before.
        agreement: Title of the agreement.
        run: The run, 16 hex digits.
        rounds: Number of rounds that were agreed.
        round: The round under way; 0 before the first.
        epsilon: What was spent; None without a budget.
        epsilon_at: When that was computed; None before.
        cap: What may be spent at most; None without a budget.
        sums: What became of the last sums, the newest last.
        faults: What is wrong now.
        model: Folder of the model; empty before there is one.
    """

    written: Moment
    ended: Moment | None
    connected: bool | None
    broker_heard: Moment | None
    agreement: str
    run: str
    rounds: int
    round: int
    epsilon: float | None
    epsilon_at: Moment | None
    cap: float | None
    sums: tuple[SumFact, ...]
    faults: tuple[FaultFact, ...]
    model: str


def fault_facts(faults: StandingFaults) -> list[dict[str, Any]]:
    """Return what is wrong now, as the file says it."""
    return [fault_fact(one.code, one.since) for one in faults.standing()]


def fault_fact(code: str, since: float) -> dict[str, Any]:
    """Return one fault, as the file says it."""
    kind = FAULTS[code]
    return {"code": code, "says": kind.says, "todo": kind.todo, "since": since}


def judged(tree: dict[str, Any], now: float | None = None) -> dict[str, Any]:
    """Return what a file says, as far as it can still be true.

    Args:
        tree: The content of a file that was validated.
        now: Seconds since the epoch; now if not given.
    """
    if tree["state"] in {"over", "stopped"}:
        return tree
    moment = time.time() if now is None else now
    if tree["ended"] is not None:
        gone = fault_fact("process-ended", tree["ended"])
    elif moment - tree["written"] > STALE_SECONDS:
        gone = fault_fact("process-silent", tree["written"])
    else:
        return tree
    # It may have been true when it was written; of now nothing is known.
    unknown = None if tree["connected"] else tree["connected"]
    return tree | {"connected": unknown, "faults": [gone, *tree["faults"]]}
