"""The coordinator's status file, which `securefl status` reads; it contains no secret."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from securefl.errors import InputError, RunDirectoryError
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.transport.liveness import LivenessTracker
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.nats.subjects import token
from securefl.federation.transport.timeouts import kind_of
from securefl.ml.tensor_io import write_atomically
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL

FILE = "status.json"
_EVERY = 1.0


Moment = Annotated[float, Field(ge=0, le=253_402_300_799)]
"""Seconds since the epoch, up to the year 9999."""


class MemberStatus(BaseModel):
    """What the coordinator knows of a member."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    heard: Moment | None
    at: str
    asked: str
    away: bool
    left_out: str = ""
    unusable: str = ""
    bytes_down: int
    bytes_up: int


class RunStatus(BaseModel):
    """Content of the status file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    written: Moment
    connected: bool
    agreement: str
    run: str
    round: int
    rounds: int
    state: str
    trouble: str
    unusual: str = ""
    epsilon: float | None
    members: tuple[MemberStatus, ...]


class StatusFile(LivenessTracker):
    """The coordinator's view of its members, rewritten every second during a run."""

    def __init__(self, directory: Path, context: ConnectionContext, link: NatsClient) -> None:
        super().__init__()
        self._path = directory / FILE
        self._link = link
        self._lock = threading.Lock()
        self._members: dict[str, dict[str, Any]] = {
            token(name): {
                "name": name,
                "heard": None,
                "at": "",
                "asked": "",
                "away": False,
                "left_out": "",
                "unusable": "",
            }
            for name in context.run.members
        }
        self._run: dict[str, Any] = {
            "agreement": context.signed.agreement.name,
            "run": context.run.id.hex()[:16],
            "round": 0,
            "rounds": context.config.rounds,
            "state": "waiting",
            "trouble": "",
            "unusual": "",
            "epsilon": None,
        }
        self._written = 0.0
        self._totals: dict[str, list[int]] = {name: [0, 0] for name in self._members}

    def heard(self, name: str, content: bytes) -> None:
        """Note a heartbeat of a member, by the token of its subject."""
        super().heard(name, content)
        with self._lock:
            member = self._members.get(name)
            if member is not None:
                member |= {"heard": time.time(), "at": content[:32].decode("ascii", "replace")}
        self._write()

    def asked(self, party: str, message: bytes) -> None:
        """Note that a request has gone out."""
        super().asked(party, message)
        with self._lock:
            self._members[token(party)]["asked"] = kind_of(message)
            self._totals[token(party)][0] += len(message)
        self._write()

    def answered(self, party: str, size: int) -> None:
        """Note that an answer has arrived."""
        super().answered(party, size)
        with self._lock:
            self._members[token(party)] |= {"asked": "", "away": False, "heard": time.time()}
            self._totals[token(party)][1] += size
        self._write()

    def gone(self, party: str, reason: str = "") -> None:
        """Note that the round goes on without a member, and why where it is cut off."""
        super().gone(party, reason)
        with self._lock:
            self._members[token(party)] |= {"away": True, "asked": ""}
            if reason:
                self._members[token(party)]["unusable"] = reason
        self._write()

    def round(self, number: int, rounds: int) -> None:
        """Note that a round begins."""
        self._set(round=number, rounds=rounds, state="training", trouble="")

    def ended(self, record: RoundRecord) -> None:
        """Note that a round has ended."""
        with self._lock:
            for member in self._members.values():
                member |= {
                    "left_out": record.left_out.get(member["name"], ""),
                    "unusable": "",
                }
        self._set(epsilon=record.epsilon, trouble="", unusual="; ".join(record.unusual))

    def unusable(self, party: str, reason: str) -> None:
        """Note that an answer of a member cannot be used, until the next round has ended."""
        with self._lock:
            self._members[token(party)]["unusable"] = reason
        self._write()

    def failed(self, reason: str) -> None:
        """Note that a round has no sum and is tried again."""
        self._set(state="trying again", trouble=reason)

    def stopped(self, reason: str) -> None:
        """Note that the run stopped for good."""
        self._set(state="stopped", trouble=reason)

    def over(self) -> None:
        """Note that the run is over."""
        self._set(state="over")

    def _set(self, **fields: Any) -> None:  # noqa: ANN401 - what JSON takes
        with self._lock:
            self._run |= fields
            self._written = 0.0
        self._write()

    def _write(self) -> None:
        with self._lock:
            now = time.time()
            if now - self._written < _EVERY:
                return
            self._written = now
            members = [
                member | {"bytes_down": self._totals[name][0], "bytes_up": self._totals[name][1]}
                for name, member in self._members.items()
            ]
            tree = {"written": now, "connected": self._link.connected, **self._run}
            text = json.dumps(tree | {"members": members}, indent=1)
            write_atomically(self._path, text.encode())


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
        tree = read_json(directory / FILE, SMALL)
        return RunStatus.model_validate(tree).model_dump()
    except (InputError, ValidationError):
        raise RunDirectoryError(f"{directory} has no status of a coordinator") from None


def clock(seconds: float | None, now: float | None = None) -> str:
    """Return the age of a time (seconds since the epoch), as text for a table."""
    if seconds is None:
        return "never"
    age = max(0.0, (time.time() if now is None else now) - seconds)
    if age < 120:
        return f"{age:.0f} s"
    return f"{age / 60:.0f} min" if age < 7200 else datetime.fromtimestamp(seconds, UTC).isoformat()
