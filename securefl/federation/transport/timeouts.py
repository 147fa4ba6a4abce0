"""The one policy of the coordinator's waiting: deadlines, quorum, stragglers, and who was late.

A member is waited for as long as that can help, and no longer than the others need. What is learned
of a member that was late is kept until it answers again: at the next steps it is waited for less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

import msgpack

_TRAINING = frozenset(("train", "train-masked", "train-alone"))
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_LESS: Final = 4.0
"""By how much the grace of a straggler shrinks with each step in a row that it missed."""


@dataclass(frozen=True)
class Wait:
    """One unanswered question, as the policy judges it.

    Attributes:
        elapsed: Seconds since the question.
        limit: Seconds that its answer may take, as `TimeoutPolicy.limit` gave them.
        last: Seconds after which it is given up whatever the others did; see `TimeoutPolicy.last`.
        quorum: Seconds after which the quorum had answered; None if it has not.
        silent: Seconds since the member was last heard from.
        missed: How many questions in a row it has not answered in time before this one.
        trouble: What keeps it from answering, in its own words; empty for nothing.
        possible: Whether a quorum can answer without those that are silent or in trouble.
        elsewhere: Whether another try of the round would have a quorum of members that are there.
    """

    elapsed: float
    limit: float
    last: float
    quorum: float | None
    silent: float
    missed: int = 0
    trouble: str = ""
    possible: bool = True
    elsewhere: bool = False


@dataclass(frozen=True)
class TimeoutPolicy:
    """When the coordinator goes on without a member.

    While fewer than the quorum have answered, and no other try of the round would have one, no
    member is given up before `give_up`: the round would fail anyway, and a member that comes back
    resumes where it was.

    Attributes:
        step: Seconds for an answer that needs no training.
        training: Seconds for an answer that does.
        silence: Seconds without a heartbeat after which a member is no longer waited for.
        straggler: Multiple of the quorum's time within which the other members have to answer.
        least: Seconds that stragglers have in any case, unless they were late before.
        quorum: How many answers a round needs.
        give_up: Seconds after which an answer is given up even without a quorum.
        tick: Seconds between two checks of the clock.
        frozen: Seconds between two checks that say that this process itself stood still.
    """

    step: float = 60.0
    training: float = 3600.0
    silence: float = 30.0
    straggler: float = 4.0
    least: float = 60.0
    quorum: int = 3
    give_up: float = 3600.0
    tick: float = 0.1
    frozen: float = 5.0

    def limit(self, message: bytes) -> float:
        """Return the seconds that an answer to this message may take."""
        return self.training if kind_of(message) in _TRAINING else self.step

    def last(self, message: bytes) -> float:
        """Return the seconds after which an answer is given up whatever the other members did."""
        # At the end of a run no quorum is needed: a missing goodbye must not delay the others.
        return self.step if kind_of(message) == "leave" else self.give_up

    def verdict(self, wait: Wait) -> str:
        """Return why a member is no longer waited for; empty while it is."""
        if wait.elapsed > wait.last:
            return f"no answer in {wait.last:.0f} s"
        if wait.trouble:
            # It says itself that it cannot answer now: waiting helps only where nothing else does.
            return wait.trouble if wait.possible or wait.elsewhere else ""
        silent = wait.silent > self.silence
        if wait.quorum is None:
            lost = silent and not wait.possible and wait.elsewhere
            return f"silent for {wait.silent:.0f} s" if lost else ""
        if silent:
            return f"silent for {wait.silent:.0f} s"
        limit = min(wait.limit, self._grace(wait.quorum, wait.missed))
        return f"no answer in {limit:.0f} s" if wait.elapsed > limit else ""

    def _grace(self, quorum: float, missed: int) -> float:
        """Return the seconds of a straggler; at least twice those of the quorum."""
        less = _LESS ** min(missed, 8)
        return max(self.least / less, max(2.0, self.straggler / less) * quorum)

    @staticmethod
    def pauses() -> Iterator[float]:
        """Yield the seconds before each further try of a round that has no sum."""
        return chain(_PAUSES, repeat(_PAUSES[-1]))


def kind_of(message: bytes) -> str:
    """Return the kind of a message from its first bytes; empty where it is not readable there."""
    # `kind` is the first field of every message, and a message may have hundreds of megabytes.
    # Limits: the first bytes may announce an array of as many places as memory has not.
    unpacker = msgpack.Unpacker(max_buffer_size=64, max_array_len=64, max_map_len=64)
    unpacker.feed(message[:64])
    try:
        unpacker.read_map_header()
        return str(unpacker.unpack()) and str(unpacker.unpack())
    except (ValueError, msgpack.UnpackException):
        return ""
