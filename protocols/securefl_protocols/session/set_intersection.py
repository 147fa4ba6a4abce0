"""Private set intersection of several members: which items at least so many of them hold.

Meadows 1986 and Huberman, Franklin and Hogg 1999, for more than two: an item is hashed to a point
of Curve25519 and multiplied by secrets of all members, which commute. Each member has two secrets
and applies them to the lists of all others; to its own list it applies one first and the other
last. So no member sees another's list under all secrets, and could not look for its own items in
it; whoever combines the last lists holds no secret, and cannot try items.

Against parties that follow the protocol and are curious, with a combiner that shares nothing with
a member, and as far as Diffie-Hellman is hard on Curve25519 with X25519's scalars
(docs/howto/alignment.md): a member learns which of its own items are common; the combiner learns
how many items any members share, and no item. Lists have an agreed length, so the numbers of items
stay hidden.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from securefl_protocols.primitives.errors import LocalProtocolError, PlanError, RemoteProtocolError
from securefl_protocols.primitives.hash_to_curve import POINT_BYTES, hash_to_curve
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.x25519 import ExchangeKey

_DOMAIN: Final = b"securefl/1/set-intersection curve25519_XMD:SHA-512_ELL2_RO_"
_FIRST: Final = b"securefl/1/set-intersection-first"
_LAST: Final = b"securefl/1/set-intersection-last"
_ORDER: Final = b"securefl/1/set-intersection-order"
_FILLER: Final = b"securefl/1/set-intersection-filler"
_ITEM, _FILLED = b"\0", b"\1"

MOST_ITEMS: Final = 1 << 22
MOST_MEMBERS: Final = 64

Points = Sequence[bytes]


@dataclass(frozen=True)
class IntersectionPlan:
    """What all members agree on before they begin.

    Attributes:
        members: How many take part, 2 to 64.
        size: Length of every list, at least as large as the largest set; public.
        least: Members that have to hold an item for it to be common, 2 to `members`.
        context: Digest of everything else that was agreed, 32 bytes.
    """

    members: int
    size: int
    least: int
    context: bytes

    def __post_init__(self) -> None:
        if not 2 <= self.members <= MOST_MEMBERS:
            raise PlanError(f"a set intersection has 2 to {MOST_MEMBERS} members")
        if not 1 <= self.size <= MOST_ITEMS:
            raise PlanError(f"a list of items has 1 to {MOST_ITEMS:,} entries")
        if not 2 <= self.least <= self.members:
            raise PlanError("an item that one member alone holds is not common")
        if len(self.context) != 32:
            raise PlanError("the context of a set intersection has 32 bytes")


class IntersectionMember:
    """One member's side. Everything follows from its arguments, so that it can begin anew.

    Args:
        plan: What was agreed.
        items: The member's set.
        secret: 32 bytes of entropy for this plan and this set alone. With another set, what the
            others see would tell what changed; with another plan, that items are the same.

    Raises:
        LocalProtocolError: There are more items than the plan allows, or an item twice.
    """

    def __init__(self, plan: IntersectionPlan, items: Sequence[bytes], secret: bytes) -> None:
        if len(items) > plan.size:
            raise LocalProtocolError(
                f"{len(items):,} items do not fit into a list of {plan.size:,}"
            )
        if len(set(items)) < len(items):
            raise LocalProtocolError("an item occurs twice")
        self._plan = plan
        self._first = ExchangeKey(_derived(secret, _FIRST, plan))
        self._last = ExchangeKey(_derived(secret, _LAST, plan))
        self._entries = _padded(items, secret, plan)

    def opened(self) -> list[bytes]:
        """Return the own list under the first secret; it goes to the next member."""
        context = self._plan.context
        return _times(self._first, (hash_to_curve(context + one, _DOMAIN) for one in self._entries))

    def passed_on(self, points: Points, peer: int | None = None) -> list[bytes]:
        """Return another member's list under both secrets; it goes to the next, or to its owner.

        Raises:
            RemoteProtocolError: The list has another length, repeats, or bad points.
        """
        _check(points, self._plan, peer)
        return _times(self._last, _times(self._first, points, peer), peer)

    def closed(self, points: Points, peer: int | None = None) -> list[bytes]:
        """Return the own list, which all others had, under all secrets; for the combiner alone.

        Raises:
            RemoteProtocolError: As in `passed_on`.
        """
        _check(points, self._plan, peer)
        return _times(self._last, points, peer)

    def common(self, closed: Points, values: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """Return the own items that are common, each with the value that all its holders see.

        Args:
            closed: What `closed` returned.
            values: What the combiner returned.
        """
        found = set(values)
        return {
            entry[1:]: value
            for entry, value in zip(self._entries, closed, strict=True)
            if value in found and entry[:1] == _ITEM
        }


def combined(plan: IntersectionPlan, lists: Sequence[Points]) -> list[bytes]:
    """Return the values that `least` lists or more have, sorted: the combiner's whole work.

    Raises:
        RemoteProtocolError: A list has another length, repeats, or bad points.
        LocalProtocolError: There are not as many lists as members.
    """
    if len(lists) != plan.members:
        raise LocalProtocolError(f"{len(lists)} lists of {plan.members} members")
    for peer, points in enumerate(lists):
        _check(points, plan, peer)
    counts = Counter(point for points in lists for point in points)
    return sorted(point for point, count in counts.items() if count >= plan.least)


def _derived(secret: bytes, label: bytes, plan: IntersectionPlan) -> bytes:
    return derive_key(secret, label=label, context=plan.context)


def _padded(items: Sequence[bytes], secret: bytes, plan: IntersectionPlan) -> list[bytes]:
    """Return items and fillers, which no other member has, in an order that says nothing."""
    filler, order = _derived(secret, _FILLER, plan), _derived(secret, _ORDER, plan)
    entries = [_ITEM + item for item in items]
    entries += [
        _FILLED + hmac.digest(filler, number.to_bytes(4, "big"), sha256)
        for number in range(plan.size - len(items))
    ]
    return sorted(entries, key=lambda entry: hmac.digest(order, entry, sha256))


def _times(key: ExchangeKey, points: Iterable[bytes], peer: int | None = None) -> list[bytes]:
    return [key.shared_secret(point, peer=peer) for point in points]


def _check(points: Points, plan: IntersectionPlan, peer: int | None) -> None:
    if len(points) != plan.size or any(len(point) != POINT_BYTES for point in points):
        raise RemoteProtocolError(f"a list has {plan.size:,} points of 32 bytes", peer)
    if len(set(points)) < len(points):
        # Two entries that stay equal under every secret would mark a list, and count for two.
        raise RemoteProtocolError("a list has a point twice", peer)
