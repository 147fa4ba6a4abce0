"""How long the coordinator waits for whom: deadlines, the quorum and the straggler rule."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

_TRAINING = frozenset(("train", "train-masked", "train-alone"))


@dataclass(frozen=True)
class TimeoutPolicy:
    """When the coordinator goes on without a member.

    While fewer than the quorum have answered, nobody is given up before `give_up`: the round would
    fail anyway, and whoever comes back goes on where it was.

    Attributes:
        step: Seconds for an answer that needs no training.
        training: Seconds for an answer that does.
        silence: Seconds without a heartbeat after which a member is not waited for any longer.
        straggler: Once the quorum has answered, the others have so many times as long as it took.
        least: Seconds that stragglers have in any case.
        quorum: How many answers a round needs.
        give_up: Seconds after which a round is given up though the quorum has not answered.
        tick: Seconds between two looks at the clock.
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
        """Seconds that an answer to this message may take."""
        return self.training if kind_of(message) in _TRAINING else self.step

    def last(self, message: bytes) -> float:
        """Seconds after which an answer is given up whatever the others did.

        Whoever does not say goodbye holds nobody up.
        """
        return self.step if kind_of(message) == "leave" else self.give_up

    def over(self, *, elapsed: float, limit: float, quorum: float | None, silent: float) -> bool:
        """Whether a member is not waited for any longer, though its last moment has not come.

        Args:
            elapsed: Seconds since the question.
            limit: The question's limit, as `limit` gave it.
            quorum: Seconds after which the quorum had answered; None if it has not.
            silent: Seconds since the member was last heard of.
        """
        if quorum is None:
            return False
        straggled = elapsed > max(self.least, self.straggler * quorum)
        return straggled or elapsed > limit or silent > self.silence


def kind_of(message: bytes) -> str:
    """The kind of a message, without reading all of it; empty where it cannot be seen."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(message[:64])
    try:
        unpacker.read_map_header()
        return str(unpacker.unpack()) and str(unpacker.unpack())
    except (ValueError, msgpack.UnpackException):
        return ""
