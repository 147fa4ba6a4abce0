"""What one party may send that is of no use, before it is cut off; others are not affected."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)
MOST_STRIKES = 256
"""Useless messages after which a member is cut off.

Copies of an answer that a restart or a slow line makes are useless too, but few: each answer that
is used clears the count.
"""


@dataclass
class Quota:
    """The useless messages of one sender since its last useful one.

    Attributes:
        name: The sender.
        most: How many are allowed; None for any number.
        strikes: How many there were.
        reason: Why the sender is cut off; empty as long as it is not. Final for this process.
    """

    name: str
    most: int | None = MOST_STRIKES
    strikes: int = 0
    reason: str = ""

    def strike(self, why: str) -> None:
        """Count a message that is of no use."""
        self.strikes += 1
        # Each would be a line of the log: a flood must not fill the disk with lines about it.
        if self.strikes.bit_count() == 1:
            _log.warning("%s (%d)", why, self.strikes)
        if self.most is not None and self.strikes > self.most and not self.reason:
            self.reason = f"{self.name} is cut off after {self.strikes} useless messages: {why}"
            _log.error("%s", self.reason)

    def used(self) -> None:
        """Clear the count: a message was of use."""
        self.strikes = 0
