"""A member's own status file, which `securefl status` shows on the member's machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgpack
from pydantic import BaseModel, ConfigDict, ValidationError

from securefl.errors import InputError, RunDirectoryError, SecureflError
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.status import FILE, Moment
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.timeouts import kind_of
from securefl.ml.tensor_io import write_atomically
from securefl.untrusted.documents import read_json
from securefl.untrusted.files import SMALL

VERIFIED = "sum-verified"
_EVERY = 1.0


class MemberRunStatus(BaseModel):
    """Content of the file; of this machine alone, and sent to no other party.

    Attributes:
        written: When it was written last, seconds since the epoch; so are `since` and `asked`.
        connected: Whether the broker is reachable.
        agreement: Title of the agreement.
        run: The run, 16 hex digits.
        member: The member.
        state: Whether it takes part, has left a run that is over, or one that stopped.
        rounds: Number of rounds that were agreed.
        round: The round that it was asked about last; 0 before the first.
        step: The kind of request that it answers now, `waiting`, or `disk full`.
        since: When that began.
        asked: When it was asked last; None before.
        verified: The last round whose sum it verified; 0 before.
        epsilon: Spent over the life of the data, at the run's delta; None without a budget.
        reason: Why the run stopped.
        model: Folder of the model that the member keeps; empty before there is one.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    written: Moment
    connected: bool
    agreement: str
    run: str
    member: str
    state: Literal["taking part", "over", "stopped"]
    rounds: int
    round: int
    step: str
    since: Moment
    asked: Moment | None
    verified: int
    epsilon: float | None
    reason: str
    model: str


class MemberWatch:
    """What hears of a member's steps; this one does nothing with them."""

    def step(self, name: str) -> None:
        """Note what the member does from now on."""

    def answered(self, question: bytes, reply: bytes) -> None:
        """Note that a request was answered."""

    def left(self, reason: str) -> None:
        """Note that the run is over for this member, and why where it was stopped."""

    def tick(self) -> None:
        """Note that the member is alive."""


class MemberStatusFile(MemberWatch):
    """A member's status, rewritten with every heartbeat and, at most every second, in between.

    Args:
        folder: The member's folder of the run.
        context: The run, and who this member is.
        link: Its connection.
        epsilon: Returns what was spent; None without a budget.
    """

    def __init__(
        self,
        folder: Path,
        context: ConnectionContext,
        link: NatsClient,
        epsilon: Callable[[], float | None],
    ) -> None:
        self._folder, self._link, self._epsilon = folder, link, epsilon
        self._lock = threading.Lock()
        self._written = 0.0
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
            "verified": 0,
            "epsilon": None,
            "reason": "",
            "model": "",
        }

    def step(self, name: str) -> None:
        """See `MemberWatch.step`."""
        self._set(step=name, since=time.time())

    def answered(self, question: bytes, reply: bytes) -> None:
        """See `MemberWatch.answered`."""
        fields: dict[str, Any] = {"asked": time.time()}
        # Questions about the result name its round, and scores of it one behind the last.
        number = min(round_of(question) or 0, int(self._fields["rounds"]))
        if number > self._fields["round"]:
            # Once a round: composing the charges of a life takes a while.
            fields |= {"round": number, "epsilon": self._spent()}
        if kind_of(reply) == VERIFIED:
            fields["verified"] = round_of(reply)
        self._set(**fields, step="waiting", since=time.time())

    def left(self, reason: str) -> None:
        """See `MemberWatch.left`."""
        from securefl.tasks.served.writing import FOLDER  # imports torch

        model = self._folder / FOLDER
        self._written = 0.0
        self._set(
            state="stopped" if reason else "over",
            reason=reason,
            epsilon=self._spent(),
            model=str(model) if model.is_dir() else "",
        )

    def tick(self) -> None:
        """See `MemberWatch.tick`; the age of the file shows that the member is alive."""
        self._set()

    def _spent(self) -> float | None:
        try:
            return self._epsilon()
        except SecureflError:
            return None  # before the first charge there is no account

    def _set(self, **fields: Any) -> None:  # noqa: ANN401 - what JSON takes
        with self._lock:
            self._fields |= fields
            if time.time() - self._written < _EVERY:
                return
            self._written = time.time()
            tree = {"written": self._written, "connected": self._link.connected, **self._fields}
            # A full disk stops answers elsewhere; what only a person reads must not stop the run.
            try:
                write_atomically(self._folder / FILE, json.dumps(tree, indent=1).encode())
            except RunDirectoryError:
                return


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
        return MemberRunStatus.model_validate(read_json(found[-1], SMALL)).model_dump()
    except (IndexError, InputError, ValidationError):
        raise RunDirectoryError(f"{folder} has no status of a coordinator or a member") from None
