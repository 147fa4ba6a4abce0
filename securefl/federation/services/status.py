"""The coordinator's status file, which `securefl status` reads; it contains no secret."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from securefl.errors import InputError, RunDirectoryError
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.runs.result import round_votes
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.member_status import read_member_status
from securefl.federation.services.round_steps import STEPS, RoundSteps, step_of
from securefl.federation.services.status_facts import (
    FILE,
    SUMS_KEPT,
    Facts,
    Moment,
    ProcessStatus,
    StepFact,
    fault_facts,
    judged,
)
from securefl.federation.services.status_writer import StatusWriter
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.link import Link
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.subjects import token
from securefl.tasks.served.writing import RELEASED
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL


class MemberStatus(Facts):
    """What the coordinator knows of a member.

    Attributes:
        name: The member.
        heard: When it was heard of last; None before.
        at: What it did then, in its own words.
        asked: The step for which it has not answered; empty for none.
        asked_at: When that was asked; None for none.
        away: Whether the round goes on without it.
        given_up: Why it is no longer waited for; empty while it is.
        left_out: Why the last sum is without it; empty where it is not.
        unusable: Why an answer of it cannot be used; empty for none.
        bytes_down: Bytes sent to it.
        bytes_up: Bytes received from it.
    """

    name: str
    heard: Moment | None
    at: str
    asked: str
    asked_at: Moment | None
    away: bool
    given_up: str
    left_out: str = ""
    unusable: str = ""
    bytes_down: int
    bytes_up: int


class RunStatus(ProcessStatus):
    """Content of a coordinator's status file.

    Attributes:
        state: What it is at: `waiting`, `training`, `trying again`, `over` or `stopped`.
        since: When that began.
        trouble: Why the last try of the round has no sum, or the run was stopped.
        needed: How many answers a step of a round needs.
        unusual: What is out of the ordinary in the last sum; empty if nothing is.
        vote: The members' vote on the last model, as text; empty where none was held.
        steps: The steps of the round under way.
        members: All members.
    """

    state: str
    since: Moment
    trouble: str
    needed: int
    steps: tuple[StepFact, ...]
    unusual: str = ""
    vote: str = ""
    members: tuple[MemberStatus, ...]


class StatusFile(LivenessTracker):
    """The coordinator's view of its members, written by a thread of its own during a run.

    Args:
        directory: The run's directory.
        context: The run.
        faults: What is wrong with the broker.
        needed: How many answers a step of a round needs.
        unusual: What is out of the ordinary in the last sum; empty if nothing is.
    """

    def __init__(
        self,
        directory: Path,
        context: ConnectionContext,
        faults: StandingFaults,
        needed: int,
    ) -> None:
        super().__init__()
        self._faults = faults
        self._link: Link | None = None
        self._lock = threading.Lock()
        self._steps = RoundSteps()
        self._members = {token(name): _unheard(name) for name in context.run.members}
        self._run: dict[str, Any] = {
            "agreement": context.signed.agreement.name,
            "run": context.run.id.hex()[:16],
            "round": 0,
            "rounds": context.config.rounds,
            "state": "waiting",
            "since": time.time(),
            "trouble": "",
            "needed": needed,
            "unusual": "",
            "vote": "",
            "epsilon": None,
            "epsilon_at": None,
            "cap": context.config.privacy.epsilon,
            "sums": [],
        }
        self._writer = StatusWriter(directory / FILE, self._tree, faults)
        self._writer.start()

    def joined(self, link: Link) -> None:
        """Note the connection."""
        self._link = link
        self._writer.changed()

    def close(self) -> None:
        """Write the file for the last time."""
        self._writer.close()

    def heard(self, name: str, content: bytes) -> None:
        """Note a heartbeat of a member, by the token of its subject."""
        super().heard(name, content)
        kind = content[:32].decode("ascii", "replace")
        at = STEPS.get(kind, kind)
        with self._lock:
            if name in self._members:
                self._members[name] |= {"heard": time.time(), "at": at}

    def asked(self, party: str, message: bytes) -> None:
        """Note that a request has gone out."""
        super().asked(party, message)
        with self._lock:
            self._steps.asked(party, message)
            member = self._members[token(party)]
            member |= {"asked": step_of(message), "asked_at": time.time()}
            member["bytes_down"] += len(message)
        self._writer.changed()

    def answered(self, party: str, size: int) -> None:
        """Note that an answer has arrived."""
        super().answered(party, size)
        with self._lock:
            self._steps.answered(party)
            member = self._members[token(party)]
            member |= {"asked": "", "asked_at": None, "away": False, "given_up": ""}
            member |= {"heard": time.time(), "bytes_up": member["bytes_up"] + size}
        self._writer.changed()

    def gone(self, party: str, reason: str = "", *, cut_off: bool = False) -> None:
        """Note that the round goes on without a member, and why."""
        super().gone(party, reason, cut_off=cut_off)
        with self._lock:
            self._steps.gone(party, reason)
            member = self._members[token(party)]
            member |= {"away": True, "asked": "", "asked_at": None, "given_up": reason}
            if cut_off:
                member["unusable"] = reason
        self._writer.changed()

    def round(self, number: int, rounds: int) -> None:
        """Note that a round begins."""
        self._set(round=number, rounds=rounds, state="training", trouble="", since=time.time())

    def ended(self, record: RoundRecord) -> None:
        """Note that a round has ended."""
        verdict = "in the clear" if record.transcript is None else "verified"
        with self._lock:
            for member in self._members.values():
                member["left_out"] = record.left_out.get(member["name"], "")
                member["unusable"] = ""
        self._sum(record.round, verdict, len(record.survivors))
        unusual = "; ".join(record.unusual)
        vote = "; ".join(one.text for one in round_votes([record]))
        self._set(epsilon=record.epsilon, epsilon_at=time.time(), trouble="")
        self._set(unusual=unusual, vote=vote)

    def unusable(self, party: str, reason: str) -> None:
        """Note that an answer of a member cannot be used, until the next round has ended."""
        with self._lock:
            self._members[token(party)]["unusable"] = reason
        self._writer.changed()

    def failed(self, reason: str) -> None:
        """Note that a round has no sum and is tried again."""
        self._sum(self._run["round"], "no sum", None)
        self._set(state="trying again", trouble=reason, since=time.time())

    def stopped(self, reason: str) -> None:
        """Note that the run stopped for good."""
        self._sum(self._run["round"], "not verified", None)
        self._set(state="stopped", trouble=reason, since=time.time())

    def over(self) -> None:
        """Note that the run is over."""
        self._set(state="over", since=time.time())

    def _sum(self, number: int, verdict: str, members: int | None) -> None:
        fact = {"round": number, "verdict": verdict, "members": members, "at": time.time()}
        with self._lock:
            self._run["sums"] = [*self._run["sums"], fact][-SUMS_KEPT:]

    def _set(self, **fields: Any) -> None:  # noqa: ANN401 - what JSON takes
        with self._lock:
            if fields.get("round", self._run["round"]) != self._run["round"]:
                self._steps.begin()
            self._run |= fields
        self._writer.changed()

    def _tree(self) -> dict[str, Any]:
        """Return the content of the file, but for when it is written."""
        line = None if self._link is None else self._link.line
        with self._lock:
            return {
                "connected": False if line is None else line.connected,
                "broker_heard": None if line is None else line.heard,
                **self._run,
                "steps": self._steps.facts(),
                "faults": fault_facts(self._faults),
                "model": "",
                "members": [dict(member) for member in self._members.values()],
            }


def _unheard(name: str) -> dict[str, Any]:
    fields = {"name": name, "heard": None, "at": "", "asked": "", "asked_at": None}
    texts = {"away": False, "given_up": "", "left_out": "", "unusable": ""}
    return {**fields, **texts, "bytes_down": 0, "bytes_up": 0}


def has_status(directory: Path) -> bool:
    """Return whether a folder has the status of a coordinator, readable or not."""
    try:
        tree = read_json(directory / FILE, SMALL)
        return isinstance(tree, dict) and "members" in tree
    except InputError:
        # A damaged one of a run directory is an error there, and not a member's.
        return (directory / "config.toml").is_file()


def read_status(directory: Path) -> dict[str, Any]:
    """Return the last status that a coordinator wrote.

    Raises:
        RunDirectoryError: If there is none.
    """
    try:
        tree = RunStatus.model_validate(read_json(directory / FILE, SMALL)).model_dump(mode="json")
    except (InputError, ValidationError):
        raise RunDirectoryError(f"{directory} has no status of a coordinator") from None
    released = directory / RELEASED  # written when the coordinator has said its last word
    return judged(tree | {"model": str(released) if released.is_dir() else ""})


def read_any_status(folder: Path) -> dict[str, Any]:
    """Return the status of a coordinator's run directory, or of a member's state folder.

    Raises:
        RunDirectoryError: If there is neither.
    """
    return read_status(folder) if has_status(folder) else read_member_status(folder)
