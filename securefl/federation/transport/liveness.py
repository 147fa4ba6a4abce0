"""Liveness of the members: when each was last heard from, and which ones are away."""

from __future__ import annotations

import time

from securefl.federation.transport.nats.subjects import token


class LivenessTracker:
    """The time of each member's last sign of life; never part of the content of a round."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._away: set[str] = set()

    def heard(self, name: str, content: bytes) -> None:
        """Note a heartbeat, by the token of the member's subject."""
        del content
        self._heard[name] = time.monotonic()

    def asked(self, party: str, message: bytes) -> None:
        """Note that a request has gone out."""
        del party, message

    def answered(self, party: str, size: int) -> None:
        """Note that an answer has arrived."""
        self._heard[token(party)] = time.monotonic()
        del size
        self._away.discard(party)

    def gone(self, party: str, reason: str = "") -> None:
        """Note that the round goes on without the member, and why where it is cut off."""
        del reason
        self._away.add(party)

    def unusable(self, party: str, reason: str) -> None:
        """Note why what a member sends cannot be used; empty where it can again."""
        del party, reason

    def silence(self, party: str, since: float) -> float:
        """Return the seconds since the member was heard from; see `TimeoutPolicy.over`.

        Args:
            party: The member.
            since: When it was asked, on the monotonic clock.
        """
        # A member that is not away is given time from the request on: it may have been silent only
        # because it was asked nothing. One that is away has already used that time up.
        last = self._heard.get(token(party), 0.0)
        return time.monotonic() - (last if party in self._away else max(last, since))
