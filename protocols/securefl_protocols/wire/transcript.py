"""The signed transcript of one round: whoever has it recomputes the sum.

It holds the messages that the members signed, and nothing that the coordinator could have
made up. A replay feeds them to a fresh `ServerSession`, which checks every signature, every
share and every rebuilt secret once more. So a sum that replays is the sum of what the
survivors signed, even where members collude with the coordinator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

import msgpack

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import index_bytes
from securefl_protocols.wire.context import DIGEST_BYTES, labelled_digest

TRANSCRIPT_LABEL = b"securefl/2/transcript"
STEPS = (5, 6)
"""Keys and the four steps of a round; six where the members drew a graph."""

Opening = tuple[int, bytes]
"""Number of a round, and the digest of the model that went out for it."""


@dataclass(frozen=True, slots=True, repr=False)
class Transcript:
    """The messages of one round, and of the key advertisement that it rests on.

    Attributes:
        opening: The round and the model that the session was opened for.
        round: The round and the model that the transcript is of.
        messages: For each of the five or six steps, the members' messages by index.
    """

    opening: Opening
    round: Opening
    messages: tuple[Mapping[int, bytes], ...]

    def digest(self) -> bytes:
        """Return 32 bytes that stand for the transcript, for instance in a ledger."""
        heads = [index_bytes(number) + model for number, model in (self.opening, self.round)]
        steps = [
            b"".join(index_bytes(m) + sha256(step[m]).digest() for m in sorted(step))
            for step in self.messages
        ]
        return labelled_digest(TRANSCRIPT_LABEL, *heads, *steps)

    def to_bytes(self) -> bytes:
        """Return the transcript as msgpack: `[opening, round, five maps]`."""
        steps = [{member: step[member] for member in sorted(step)} for step in self.messages]
        packed: bytes = msgpack.packb([list(self.opening), list(self.round), steps])
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            RemoteProtocolError: The bytes are no transcript.
        """
        try:
            opening, number, steps = msgpack.unpackb(data, strict_map_key=False, max_ext_len=0)
            transcript = cls(_opening(opening), _opening(number), tuple(map(_step, steps)))
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            raise RemoteProtocolError("the bytes are no transcript") from error
        if len(transcript.messages) not in STEPS or transcript.to_bytes() != data:
            raise RemoteProtocolError("the bytes are no transcript")
        return transcript


def _opening(value: Any) -> Opening:  # noqa: ANN401 - whatever msgpack found
    number, model = value
    if type(number) is not int or not 0 <= number < 1 << 32:
        raise ValueError("the number of a round has 32 bits")
    if not isinstance(model, bytes) or len(model) != DIGEST_BYTES:
        raise ValueError("a model is known by a digest of 32 bytes")
    return number, model


def _step(value: Any) -> dict[int, bytes]:  # noqa: ANN401 - whatever msgpack found
    if not isinstance(value, dict):
        raise TypeError("a step maps members to messages")
    for member, message in value.items():
        if type(member) is not int or not isinstance(message, bytes):
            raise TypeError("a step maps members to messages")
        if not 0 <= member < 1 << 32:
            raise ValueError("the index of a member has 32 bits")
    return value
