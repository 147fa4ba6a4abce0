"""What one party may send that is of no use, before it is cut off; others are not affected."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from securefl.federation.transport.nats.part_errors import OtherRunError

_log = logging.getLogger(__name__)
MOST_STRIKES = 256
"""Useless messages after which a member is cut off.

Copies of an answer that a restart or a slow line makes are useless too, but few: each answer that
is used clears the count.
"""
MOST_WASTED = 64 << 20
"""Useless bytes of one round after which a member is cut off. No answer clears them: with small
ones, a member could have large useless ones carried between them all the time."""
_FIRST_SECONDS, _LAST_SECONDS = 600.0, 86400.0
"""How long a member is cut off the first time; each further time twice as long, a day at most."""
_MOST_GIVEN_UP: Final = 64
"""Questions of one sender whose late answers are known; older ones are strikes again."""
_UNKNOWN: Final = ""
_MOST_RUNS: Final = 8
"""Other runs of a sender that are named in the log; it could announce one after another."""


@dataclass
class Quota:
    """The useless messages of one sender.

    Attributes:
        name: The sender.
        most: How many are allowed between two useful ones; None for any number.
        most_wasted: How many bytes of them are allowed in a round.
        clock: Seconds, of a clock that never goes back.
        strikes: How many there were since the last useful one.
        wasted: How many bytes they had since the round began.
    """

    name: str
    most: int | None = MOST_STRIKES
    most_wasted: int = MOST_WASTED
    clock: Callable[[], float] = time.monotonic
    strikes: int = 0
    wasted: int = 0
    _reason: str = ""
    _until: float = 0.0
    _seconds: float = _FIRST_SECONDS
    _runs: set[bytes] = field(default_factory=set)
    _given_up: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _newest: tuple[str, int] = ("", 0)

    @property
    def reason(self) -> str:
        """Why the sender is cut off, for how long, and how to end that; empty while it is not."""
        # Without an end, an honest member that was at fault once would stay away until a person
        # restarts the coordinator. A hostile one gains 256 messages in ten minutes, then in twenty.
        if self._reason and self.clock() >= self._until:
            self.strikes = self.wasted = 0
            self._reason = ""
            _log.warning("%s is cut off no longer", self.name)
        return self._reason

    def strike(self, why: str, size: int = 0) -> None:
        """Count a message of so many bytes that is of no use."""
        cut_off = bool(self.reason)
        self.strikes += 1
        self.wasted += size
        # Each would be a line of the log: a flood must not fill the disk with lines about it.
        if self.strikes.bit_count() == 1:
            _log.warning("%s (%d)", why, self.strikes)
        if self.most is None or cut_off:
            return
        if self.strikes > self.most or self.wasted > self.most_wasted:
            self._cut_off(why)

    def _cut_off(self, why: str) -> None:
        self._until = self.clock() + self._seconds
        count = f"{self.strikes} useless messages, {self.wasted / 1e6:.1f} MB in this round"
        self._reason = (
            f"{self.name} is cut off for {self._seconds / 60:.0f} min after {count}: {why}."
            f" To hear it sooner: securefl readmit DIR {self.name}, or restart the coordinator,"
            " which loses nothing"
        )
        self._seconds = min(2 * self._seconds, _LAST_SECONDS)
        _log.error("%s", self._reason)

    def readmit(self) -> bool:
        """Hear the sender again at once, as after a restart; return whether it was cut off."""
        cut_off = bool(self.reason)
        self._until, self._seconds = self.clock(), _FIRST_SECONDS
        return cut_off and not self.reason

    def other_run(self, error: OtherRunError) -> None:
        """Name a run that the sender is in and we are not, once; it is no strike.

        An honest process that was not restarted for this run says so every few seconds.
        """
        if error.run not in self._runs and len(self._runs) < _MOST_RUNS:
            self._runs.add(error.run)
            _log.warning("%s", error)

    def awaited(self, question: str) -> int:
        """Return the most bytes of a late answer; 0 where the question is not the newest such."""
        # By the connection's thread, before a part is opened.
        newest, size = self._newest
        return size if question == newest else 0

    def used(self) -> None:
        """Clear the count: a message was of use. The bytes stay counted."""
        self.strikes = 0

    def given_up(self, question: str, size: int) -> None:
        """Note that an answer of so many bytes may still come, once, and is of no use then."""
        self._given_up[question], self._newest = None, (question, size)
        if len(self._given_up) > _MOST_GIVEN_UP:
            self._given_up.popitem(last=False)

    def late(self, question: str) -> bool:
        """Return whether an answer to this question was given up, and none has come since.

        It was asked for, and is no strike. Nothing is counted ahead for answers that do not come,
        in the place of which a member could send as many bytes of its own choice.
        """
        return self._given_up.pop(question, _UNKNOWN) is None

    def begin_round(self) -> None:
        """Clear the bytes: another round begins."""
        self.wasted = 0
