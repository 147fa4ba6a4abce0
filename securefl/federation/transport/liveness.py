"""Liveness of the members: when each was last heard from, which are away, late or in trouble."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from securefl.federation.transport.nats.subjects import token

DISK_FULL: Final = "disk full"
DISK_FAILS: Final = "disk fails"
TROUBLES: Final = {
    DISK_FULL.encode(): "its disk is full",
    DISK_FAILS.encode(): "its disk cannot be written",
}
"""By what a heartbeat says, why no answer comes now: a member's own word, about itself alone."""


class LivenessTracker:
    """The time of each member's last sign of life; never part of the content of a round."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._away: set[str] = set()
        self._missed: dict[str, int] = {}
        self._troubles: dict[str, str] = {}

    def heard(self, name: str, content: bytes) -> None:
        """Note a heartbeat, by the token of the member's subject."""
        self._heard[name] = time.monotonic()
        self._troubles[name] = TROUBLES.get(content, "")

    def asked(self, party: str, message: bytes) -> None:
        """Note that a request has gone out."""
        del party, message

    def answered(self, party: str, size: int) -> None:
        """Note that an answer has arrived."""
        del size
        self._heard[token(party)] = time.monotonic()
        self._troubles.pop(token(party), None)
        self._missed.pop(party, None)
        self._away.discard(party)

    def spoke(self, party: str) -> None:
        """Note an answer that came after it was given up: the member is there, and can write."""
        self._heard[token(party)] = time.monotonic()
        self._troubles.pop(token(party), None)

    def gone(self, party: str, reason: str = "", *, cut_off: bool = False) -> None:
        """Note that the round goes on without the member, why, and whether it is for good."""
        del reason, cut_off
        self._away.add(party)
        self._missed[party] = self.missed(party) + 1

    def stood_still(self, seconds: float) -> None:
        """Note that this process itself stood still; that time is counted for no member."""
        del seconds

    def missed(self, party: str) -> int:
        """Return how many questions in a row the member has not answered in time."""
        return self._missed.get(party, 0)

    def trouble(self, party: str) -> str:
        """Return what keeps the member from answering, in its own words; empty for nothing."""
        return self._troubles.get(token(party), "")

    def there(self, parties: Iterable[str], silence: float) -> int:
        """Return how many of these were heard of in the last seconds, and are in no trouble."""
        now = time.monotonic()
        return sum(
            not self.trouble(party) and now - self._heard.get(token(party), -silence) < silence
            for party in parties
        )

    def unusable(self, party: str, reason: str) -> None:
        """Note why what a member sends cannot be used; empty where it can again."""
        del party, reason

    def silence(self, party: str, since: float) -> float:
        """Return the seconds since the member was heard from; see `Wait.silent`.

        Args:
            party: The member.
            since: When it was asked, on the monotonic clock.
        """
        # A member that is not away is given time from the request on: it may have been silent only
        # because it was asked nothing. One that is away has already used that time up.
        last = self._heard.get(token(party), 0.0)
        return time.monotonic() - (last if party in self._away else max(last, since))
