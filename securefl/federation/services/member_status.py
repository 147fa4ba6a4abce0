"""A member's own status file, which `securefl status` shows on the member's machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgpack
from pydantic import ValidationError

from securefl.errors import InputError, RunDirectoryError, SecureflError
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.round_steps import STEPS, step_of
from securefl.federation.services.status_facts import (
    FILE,
    SUMS_KEPT,
    Moment,
    ProcessStatus,
    fault_facts,
    judged,
)
from securefl.federation.services.status_writer import StatusWriter
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.liveness import DISK_FAILS, DISK_FULL
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.nats.coordinator_watch import CoordinatorWatch
from securefl.federation.transport.timeouts import kind_of
from securefl.tasks.served.folder import FOLDER
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL

VERIFIED: Final = "sum-verified"
_DISK_FAULTS: Final = {DISK_FULL: "disk-full", DISK_FAILS: "disk"}


class MemberRunStatus(ProcessStatus):
    """Content of the file; of this machine alone, and sent to no other party.

    `epsilon` is what was spent over the life of the data, at the run's delta.

    Attributes:
        member: The member.
        state: Whether it takes part, has left a run that is over, or one that stopped.
        step: The kind of request that it answers now, `waiting`, `disk full` or `disk fails`.
        since: When that began.
        asked: When it was asked last; None before.
        asked_for: What it was asked for then.
        verified: The last round whose sum it verified; 0 before.
        coordinator_heard: When the coordinator answered a heartbeat last; None before.
        clock_ahead: Seconds by which this clock is ahead of the coordinator's; None before.
        bytes_down: Bytes received.
        bytes_up: Bytes sent.
        reason: Why the run stopped.
    """

    member: str
    state: Literal["taking part", "over", "stopped"]
    step: str
    since: Moment
    asked: Moment | None
    asked_for: str
    verified: int
    coordinator_heard: Moment | None
    clock_ahead: float | None
    bytes_down: int
    bytes_up: int
    reason: str


class MemberWatch:
    """What hears of a member's steps; this one does nothing with them."""

    def step(self, name: str) -> None:
        """Note what the member does from now on."""

    def wrote(self) -> None:
        """Note that journal and ledger could be written."""

    def answered(self, question: bytes, reply: bytes) -> None:
        """Note that a request was answered."""

    def left(self, reason: str) -> None:
        """Note that the run is over for this member, and why where it was stopped."""

    def joined(self, link: NatsClient) -> None:
        """Note the connection."""

    def hears(self, coordinator: CoordinatorWatch) -> None:
        """Note what knows whether the coordinator is there."""


class MemberStatusFile(MemberWatch):
    """A member's status, written by a thread of its own.

    Args:
        folder: The member's folder of the run.
        context: The run, and who this member is.
        faults: What is wrong with the broker, the coordinator or the disk.
        budget: Returns what was spent and what may be; None without a budget.
    """

    def __init__(
        self,
        folder: Path,
        context: ConnectionContext,
        faults: StandingFaults,
        budget: Callable[[], tuple[float | None, float | None]],
    ) -> None:
        self._folder, self._faults, self._budget = folder, faults, budget
        self._link: NatsClient | None = None
        self._coordinator: CoordinatorWatch | None = None
        self._lock = threading.Lock()
        self._fields: dict[str, Any] = {
            "agreement": context.signed.agreement.name,
            "run": context.run.id.hex()[:16],
            "member": context.name,
            "state": "taking part",
            "rounds": context.config.rounds,
            "round": 0,
            "step": "waiting",
            "since": time.time(),
            "asked": None,
            "asked_for": "",
            "verified": 0,
            "epsilon": None,
            "epsilon_at": None,
            "cap": None,
            "sums": [],
            "bytes_down": 0,
            "bytes_up": 0,
            "reason": "",
        }
        self._writer = StatusWriter(folder / FILE, self._tree, faults)
        self._writer.start()

    def joined(self, link: NatsClient) -> None:
        """See `MemberWatch.joined`."""
        self._link = link
        self._writer.changed()

    def hears(self, coordinator: CoordinatorWatch) -> None:
        """See `MemberWatch.hears`."""
        self._coordinator = coordinator

    def close(self) -> None:
        """Write the file for the last time."""
        self._writer.close()

    def step(self, name: str) -> None:
        """See `MemberWatch.step`."""
        if name in _DISK_FAULTS:
            self._faults.begin("disk", _DISK_FAULTS[name])
        if name != self._fields["step"]:
            self._set(step=name, since=time.time())

    def wrote(self) -> None:
        """See `MemberWatch.wrote`."""
        self._faults.end("disk")

    def answered(self, question: bytes, reply: bytes) -> None:
        """See `MemberWatch.answered`."""
        now = time.time()
        fields: dict[str, Any] = {
            "asked": now,
            "asked_for": step_of(question),
            "bytes_down": self._fields["bytes_down"] + len(question),
            "bytes_up": self._fields["bytes_up"] + len(reply),
        }
        # Questions about the result name its round, and scores of it one behind the last.
        number = min(round_of(question) or 0, int(self._fields["rounds"]))
        if number > self._fields["round"]:
            # Once a round: composing the charges of a life takes a while.
            fields |= {"round": number, **self._spent()}
        if kind_of(reply) == VERIFIED:
            fields["verified"] = round_of(reply)
        # Not of a sum of scores, which no member confirms by a message of its own.
        if fields["asked_for"] == STEPS["RoundSum"]:
            fields["sums"] = self._judged_sums(number, kind_of(reply) == VERIFIED, now)
        self._set(**fields, step="waiting", since=now)

    def _judged_sums(self, number: int, verified: bool, now: float) -> list[dict[str, Any]]:
        verdict = "verified" if verified else "not verified"
        fact = {"round": number, "verdict": verdict, "members": None, "at": now}
        return [*self._fields["sums"], fact][-SUMS_KEPT:]

    def left(self, reason: str) -> None:
        """See `MemberWatch.left`."""
        state = "stopped" if reason else "over"
        self._set(state=state, reason=reason, **self._spent())

    def _spent(self) -> dict[str, Any]:
        try:
            spent, cap = self._budget()
        except SecureflError:
            return {}  # before the first charge there is no account
        return {"epsilon": spent, "epsilon_at": time.time(), "cap": cap}

    def _set(self, **fields: Any) -> None:  # noqa: ANN401 - what JSON takes
        with self._lock:
            self._fields |= fields
        self._writer.changed()

    def _tree(self) -> dict[str, Any]:
        """Return the content of the file, but for when it is written."""
        line = None if self._link is None else self._link.line
        hub, model = self._coordinator, self._folder / FOLDER
        with self._lock:
            return {
                "connected": False if line is None else line.connected,
                "broker_heard": None if line is None else line.heard,
                "coordinator_heard": None if hub is None else hub.heard,
                "clock_ahead": None if hub is None else hub.ahead,
                **self._fields,
                "faults": fault_facts(self._faults),
                "model": str(model) if model.is_dir() else "",
            }


def round_of(message: bytes) -> int | None:
    """Return the field `round` of a message, without reading the models in it; None without one."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(message))
    unpacker.feed(message)
    try:
        for _ in range(unpacker.read_map_header()):
            if unpacker.unpack() == "round":
                number = unpacker.unpack()
                return number if isinstance(number, int) else None
            unpacker.skip()
    except (ValueError, msgpack.UnpackException):
        return None
    return None


def read_member_status(folder: Path) -> dict[str, Any]:
    """Return the newest status of a member in its state folder, or in its folder of one run.

    Raises:
        RunDirectoryError: If there is none.
    """
    places = [folder / FILE, *folder.glob(f"*/{FILE}")]
    found = sorted(
        (path for path in places if path.is_file()), key=lambda path: path.stat().st_mtime
    )
    try:
        tree = MemberRunStatus.model_validate(read_json(found[-1], SMALL))
    except (IndexError, InputError, ValidationError):
        raise RunDirectoryError(f"{folder} has no status of a coordinator or a member") from None
    return judged(tree.model_dump(mode="json"))
