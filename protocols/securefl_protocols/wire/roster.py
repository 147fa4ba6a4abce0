"""Who takes part: the pinned roster, and sets of its members as bit strings."""

from collections.abc import Iterable
from dataclasses import dataclass

from securefl_protocols.primitives.errors import PlanError, RemoteProtocolError
from securefl_protocols.primitives.signing import SIGNING_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Roster:
    """The members of a session in the order of the consortium agreement.

    One key stands for one member, so that nobody counts twice towards a threshold.

    Attributes:
        names: What the members are called.
        identities: Their Ed25519 public keys, 32 bytes each.
    """

    names: tuple[str, ...]
    identities: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.identities):
            raise PlanError("every member of a roster has a name and an identity key")
        if any(len(identity) != SIGNING_KEY_BYTES for identity in self.identities):
            raise PlanError("an identity key has 32 bytes")
        if len(set(self.identities)) != len(self.identities):
            raise PlanError("two members of the roster have the same identity key")
        if len(set(self.names)) != len(self.names):
            raise PlanError("two members of the roster have the same name")

    def __len__(self) -> int:
        return len(self.names)


def members_to_bits(members: Iterable[int], count: int) -> bytes:
    """Return a set of members as a bit string, the one way there is to write it.

    Args:
        members: Indices below `count`.
        count: How many members the roster has.

    Returns:
        ceil(count / 8) bytes; member i is bit i % 8 (least significant first) of byte i // 8.
    """
    bits = bytearray(-(-count // 8))
    for member in members:
        bits[member // 8] |= 1 << member % 8
    return bytes(bits)


def members_from_bits(bits: bytes, count: int) -> frozenset[int]:
    """Read what `members_to_bits` wrote.

    Raises:
        RemoteProtocolError: There are more or fewer bytes, or a bit that is nobody's.
    """
    if len(bits) != -(-count // 8):
        raise RemoteProtocolError("a set of members has one bit for each of the roster")
    number = int.from_bytes(bits, "little")
    if number >> count:
        raise RemoteProtocolError("a set of members names somebody who is not in the roster")
    return frozenset(member for member in range(count) if number >> member & 1)
