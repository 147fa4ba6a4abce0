"""Which members are there: who was heard of when, and who is away."""

from __future__ import annotations

import time

from securefl.federation.transport.nats.subjects import token


class LivenessTracker:
    """Who was heard of when; nothing here decides on the content of a round."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._away: set[str] = set()

    def heard(self, name: str, content: bytes) -> None:
        """A heartbeat, from a member's token."""
        del content
        self._heard[name] = time.monotonic()

    def asked(self, party: str, message: bytes) -> None:
        """A question has gone out."""
        del party, message

    def answered(self, party: str, size: int) -> None:
        """An answer has come."""
        self._heard[token(party)] = time.monotonic()
        del size
        self._away.discard(party)

    def gone(self, party: str) -> None:
        """The round goes on without the member."""
        self._away.add(party)

    def silence(self, party: str, since: float) -> float:
        """Seconds since the member was heard of; one that is not away may speak up from `since`."""
        last = self._heard.get(token(party), 0.0)
        return time.monotonic() - (last if party in self._away else max(last, since))
