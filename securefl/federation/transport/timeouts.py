"""Timeouts of the coordinator: deadlines, the quorum and the straggler rule."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

_TRAINING = frozenset(("train", "train-masked", "train-alone"))


@dataclass(frozen=True)
class TimeoutPolicy:
    """When the coordinator goes on without a member.

    While fewer than the quorum have answered, no member is given up before `give_up`: the round
    would fail anyway, and a member that comes back resumes where it was.

    Attributes:
        step: Seconds for an answer that needs no training.
        training: Seconds for an answer that does.
        silence: Seconds without a heartbeat after which a member is no longer waited for.
        straggler: Multiple of the quorum's time within which the other members have to answer.
        least: Seconds that stragglers have in any case.
        quorum: How many answers a round needs.
        give_up: Seconds after which an answer is given up even without a quorum.
        tick: Seconds between two checks of the clock.
    """

    step: float = 60.0
    training: float = 3600.0
    silence: float = 30.0
    straggler: float = 4.0
    least: float = 60.0
    quorum: int = 3
    give_up: float = 3600.0
    tick: float = 0.1

    def limit(self, message: bytes) -> float:
        """Return the seconds that an answer to this message may take."""
        return self.training if kind_of(message) in _TRAINING else self.step

    def last(self, message: bytes) -> float:
        """Return the seconds after which an answer is given up whatever the other members did."""
        # At the end of a run no quorum is needed: a missing goodbye must not delay the others.
        return self.step if kind_of(message) == "leave" else self.give_up

    def over(self, *, elapsed: float, limit: float, quorum: float | None, silent: float) -> bool:
        """Return whether a member is given up before the time of `last`.

        Args:
            elapsed: Seconds since the question.
            limit: The question's limit, as `limit` gave it.
            quorum: Seconds after which the quorum had answered; None if it has not.
            silent: Seconds since the member was last heard from.
        """
        if quorum is None:
            return False
        straggled = elapsed > max(self.least, self.straggler * quorum)
        return straggled or elapsed > limit or silent > self.silence


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
