"""What stands in a party's way now, since when, and what to do about it: one table, one list."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault.

    Attributes:
        says: What is wrong, in one line.
        todo: What to do about it, in one line.
    """

    says: str
    todo: str


FAULTS: Final[dict[str, FaultKind]] = {
    "refused": FaultKind(
        "the broker is down: nothing listens at its address",
        "start the broker; if it runs, compare its address and port with the agreement's",
    ),
    "timeout": FaultKind(
        "the broker does not answer: it is frozen, or the line to it is cut or very slow",
        "see that its machine is up, its process runs, and no firewall drops the packets",
    ),
    "address": FaultKind(
        "the broker's name cannot be resolved",
        "compare it with the agreement, and see whether this machine's name service works",
    ),
    "lost": FaultKind(
        "the connection to the broker is lost; it is tried again",
        "nothing, if it was restarted; otherwise look at its log",
    ),
    "tls-expired": FaultKind(
        "the broker's certificate has expired, or is not valid yet by this machine's clock",
        "renew it where the authority is: move broker.pem and broker.key away, securefl agreement"
        " ca DIR --host NAME, restart the broker; and look at this machine's clock",
    ),
    "tls-name": FaultKind(
        "the broker's certificate is for another name",
        "renew it with the agreement's name: move broker.pem and broker.key away, securefl"
        " agreement ca DIR --host NAME",
    ),
    "tls-untrusted": FaultKind(
        "the broker's certificate is not of the agreement's authority",
        "ask the broker's operator before anything else: it may be a man in the middle",
    ),
    "tls": FaultKind(
        "no TLS 1.3 with the broker",
        "see that the broker runs with this agreement's configuration, and that nothing stands"
        " between that ends TLS",
    ),
    "auth": FaultKind(
        "the broker refuses this key",
        "make its configuration anew from this very agreement, and restart it: securefl agreement"
        " broker-config AGREEMENT --tls DIR",
    ),
    "crowded": FaultKind(
        "the broker has too many connections of this key",
        "stop other processes with this key",
    ),
    "jetstream-off": FaultKind(
        "JetStream is off at the broker: it keeps no messages",
        "its log says why; make room on its disk or correct its configuration, and restart it."
        " No other party has to restart",
    ),
    "store-full": FaultKind(
        "the broker's store is full: it takes no message",
        "make room on its disk, or raise its limit. What was not stored is sent again",
    ),
    "store-stuck": FaultKind(
        "the broker is there and stores nothing: its disk is full or fails",
        "see its log, and make room on its disk: within a minute the coordinator makes the streams"
        " anew, and nobody restarts. If this stays, restart the broker, and no other party",
    ),
    "store-gone": FaultKind(
        "the broker has no streams of this run: none were made yet, it was restarted empty, or"
        " JetStream is off",
        "the coordinator makes them within seconds; if this stays, see that the coordinator runs,"
        " and the broker's log",
    ),
    "grid-lost": FaultKind(
        "Flower's SuperLink does not answer",
        "see that it runs, and its log; it goes on by itself as soon as it answers",
    ),
    "coordinator-absent": FaultKind(
        "the coordinator is not connected to the broker",
        "it has to be started again; nothing is wrong here",
    ),
    "coordinator-silent": FaultKind(
        "the coordinator is connected and does not answer: it is frozen",
        "ask its operator to look at its process; nothing is wrong here",
    ),
    "disk-full": FaultKind(
        "the disk is full: nothing is answered until it can be written down",
        "make room; it goes on by itself",
    ),
    "disk": FaultKind(
        "the journal or the ledger cannot be written",
        "see the log for what fails; it goes on by itself as soon as it can write",
    ),
    "process-silent": FaultKind(
        "this process writes nothing any more: it is frozen or killed",
        "look at it; if it is gone, start it again with the same command. What follows is old",
    ),
    "process-ended": FaultKind(
        "this process has ended before the run was over",
        "start it again with the same command; it goes on where it was",
    ),
    "clock": FaultKind(
        "this machine's clock differs from the coordinator's by more than five minutes",
        "set the clock of the one that is wrong; use NTP",
    ),
}
"""By code; the codes stand in status files and logs."""


@dataclass(frozen=True)
class Standing:
    """A fault that is there now.

    Attributes:
        code: Its kind, a key of `FAULTS`.
        since: When it began, seconds since the epoch.
    """

    code: str
    since: float


class StandingFaults:
    """The faults of one process, at most one for each place where something can be wrong.

    Every change is one line of the log. All methods may be called from any thread.

    Attributes:
        changed: Called after every change, for example to write a status file.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], None] = _nothing
        self._lock = threading.Lock()
        self._standing: dict[str, Standing] = {}

    def begin(self, place: str, code: str) -> None:
        """Note a fault; one of the same kind that stands there already keeps its time.

        Args:
            place: Where: `connection`, `store`, `streams`, `coordinator`, `disk` or `clock`.
            code: A key of `FAULTS`.
        """
        kind = FAULTS[code]
        with self._lock:
            before = self._standing.get(place)
            if before is not None and before.code == code:
                return
            self._standing[place] = Standing(code, time.time())
        _log.error("%s; what to do: %s", kind.says, kind.todo, extra={"fault": code})
        self.changed()

    def end(self, place: str, *codes: str) -> None:
        """Note that nothing is wrong at a place any more.

        Args:
            place: The place.
            codes: Only a fault of these kinds is over; of any kind if none is given.
        """
        with self._lock:
            found = self._standing.get(place)
            if found is None or (codes and found.code not in codes):
                return
            del self._standing[place]
        seconds = time.time() - found.since
        says = FAULTS[found.code].says
        _log.warning("over after %.0f s: %s", seconds, says, extra={"fault": found.code})
        self.changed()

    def code(self, place: str) -> str:
        """Return the kind of the fault at a place; empty without one."""
        with self._lock:
            found = self._standing.get(place)
        return "" if found is None else found.code

    def standing(self) -> list[Standing]:
        """Return what is wrong now, the oldest first; what is so at two places, once."""
        with self._lock:
            found = sorted(self._standing.values(), key=lambda one: one.since)
        kept: dict[str, Standing] = {}
        for one in found:
            kept.setdefault(one.code, one)
        return list(kept.values())


def _nothing() -> None:
    return
