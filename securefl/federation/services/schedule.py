"""Runs in a row under one agreement, each when its days are over and from the model before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from securefl.errors import AgreementError, RunDirectoryError
from securefl.federation.member.own_figures import OwnFigures
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.result import RunResult
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.coordinator import coordinate
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.services.member_status import read_member_status
from securefl.federation.transport.timeouts import TimeoutPolicy

_TICK = 60.0
"""Seconds of one sleep: a clock that is set meanwhile is noticed."""

Enter = Callable[[str], ConnectionContext]
"""Reads agreement, facts and policy anew for a run by its name: an agreement that expired, a key
that was revoked or a policy that forbids the next run ends the row."""


@dataclass(frozen=True)
class Announcement:
    """What is said before a run.

    Attributes:
        number: The run.
        runs: Number of runs that were agreed.
        due: When it begins, in UTC.
        waits: Whether that is still to come.
    """

    number: int
    runs: int
    due: datetime
    waits: bool


Announce = Callable[[Announcement], None]


def wait_until(due: datetime) -> None:
    """Sleep until a moment has come by this machine's clock."""
    while (left := (due - datetime.now(UTC)).total_seconds()) > 0:
        time.sleep(min(left, _TICK))


def coordinated(
    enter: Enter,
    out: Path,
    timeouts: TimeoutPolicy,
    announce: Announce,
) -> Iterator[RunResult]:
    """Run the schedule of an agreement, and yield each run's result; finished ones are skipped.

    Args:
        enter: Enters a run by its name.
        out: Folder of the runs, whose directories are called 1, 2 and so on.
        timeouts: How long members are waited for.
        announce: Hears of each run before it begins.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    for context in _in_turn(enter, 1, announce, lambda one: _finished(out, one)):
        before = out / str(context.number - 1) if context.number > 1 else None
        yield coordinate(context, out / str(context.number), timeouts, before=before)


def followed(
    enter: Enter, first: int, paths: MemberPaths, announce: Announce
) -> Iterator[OwnFigures | None]:
    """Take part in the runs of a schedule, and yield the member's own figures of each.

    Args:
        enter: Enters a run by its name.
        first: The first run to take part in; those that this member has left are skipped.
        paths: The member's own files; an earlier model is that of the first run taken.
        announce: Hears of each run before it begins.

    Raises:
        SecureflError: A user-facing error, as one line.
    """
    earlier = paths.earlier
    for context in _in_turn(enter, first, announce, lambda one: _left(paths.state, one)):
        given = MemberPaths(paths.state, paths.books, paths.policy, paths.data, earlier)
        yield serve(context, given)
        earlier = None  # from here on its own folder has the model


def _in_turn(
    enter: Enter, first: int, announce: Announce, over: Callable[[ConnectionContext], bool]
) -> Iterator[ConnectionContext]:
    """Yield the runs from `first` on that are not over, each when it is due."""
    number, runs = first, first
    while number <= runs:
        context = enter(str(number))
        schedule = context.signed.agreement.config.schedule
        if schedule is None:
            raise AgreementError("the agreement has no schedule: leave out --schedule")
        runs = schedule.runs
        if not over(context):
            yield _when_due(context, enter, announce, runs)
        number += 1


def _when_due(
    context: ConnectionContext, enter: Enter, announce: Announce, runs: int
) -> ConnectionContext:
    due = context.signed.agreement.config.due(context.number)
    assert due is not None
    waits = due > datetime.now(UTC)
    announce(Announcement(context.number, runs, due, waits))
    if not waits:
        return context
    wait_until(due)
    return enter(str(context.number))


def newest(out: Path) -> Path:
    """Return the directory of the newest run in a folder of runs; the folder where it has none."""
    places = [place for place in out.glob("*") if place.name.isdigit()]
    return max(places, key=lambda place: int(place.name), default=out)


def _finished(out: Path, context: ConnectionContext) -> bool:
    """Return whether the coordinator has the result of a run."""
    place = out / str(context.number)
    return place.exists() and RunDirectory.open(place).result() is not None


def _left(state: Path, context: ConnectionContext) -> bool:
    """Return whether this member was released from a run, which is over for it."""
    try:
        status = read_member_status(state / context.run.id.hex()[:16])
    except RunDirectoryError:
        return False
    return bool(status["state"] == "over")
