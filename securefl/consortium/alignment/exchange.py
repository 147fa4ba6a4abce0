"""The steps of an alignment as files in a folder that all members reach; each can be repeated.

A member's list goes round in files `OWNER.STEP.points`: step 0 is its own, every later one is the
next member's work on it. What the owner makes of the last one is sealed for the coordinator.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from securefl.consortium.alignment.plan import AlignmentPlan
from securefl.consortium.alignment.signed_files import Exchange
from securefl.consortium.keys.key_files import read_secret, write_secret
from securefl.errors import InputError
from securefl_protocols.primitives.errors import ProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.sealing import NONCE_BYTES, TAG_BYTES, seal, unseal
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.set_intersection import IntersectionMember, combined

_SEALED: Final = b"securefl/1/alignment-sealed"
COMMON: Final = "common.points"


@dataclass(frozen=True)
class Progress:
    """What one call did, and what is still to come.

    Attributes:
        written: Files that were written.
        waiting: Files of others that are not there yet.
        common: The own items that are common, with their values; None until that is known.
        values: All common values, sorted.
    """

    written: tuple[str, ...]
    waiting: tuple[str, ...]
    common: Mapping[bytes, bytes] | None = None
    values: tuple[bytes, ...] = ()


def take_steps(exchange: Exchange, name: str, items: list[bytes], state: Path) -> Progress:
    """Do all of a member's steps that are possible now.

    Args:
        exchange: The exchange folder, as this member sees it.
        name: The member's name in the plan.
        items: Its set, which must be the same at every call.
        state: The member's own folder: secrets lie in it.

    Raises:
        InputError: The set is another one than before, a file of another party is damaged or
            signed by none or by another, or was exchanged after this member had worked on it.
    """
    plan = exchange.plan
    secret = _own_secret(plan, items, state / f"{name}.secret")
    try:
        member = IntersectionMember(plan.intersection, items, secret)
        return _Steps(exchange, plan, plan.members.index(name), member, state).taken()
    except ProtocolError as error:
        raise InputError(f"{exchange.folder}: {error}") from None


def _own_secret(plan: AlignmentPlan, items: list[bytes], path: Path) -> bytes:
    """Return the member's secret; it belongs to this plan and this set alone."""
    bound = sha256(plan.context + b"".join(sha256(item).digest() for item in sorted(items)))
    if not path.exists():
        write_secret(path, secrets.token_bytes(32) + bound.digest())
    content = read_secret(path)
    if len(content) != 64 or content[32:] != bound.digest():
        # With the same secret, two sets would show what was added between them.
        raise InputError(
            f"{path} belongs to another plan or to other products: restore the catalogue, or start"
            " a new alignment in new folders"
        )
    return content[:32]


@dataclass(frozen=True)
class _Steps:
    """One member's call."""

    exchange: Exchange
    plan: AlignmentPlan
    index: int
    member: IntersectionMember
    state: Path

    def taken(self) -> Progress:
        written: list[str] = []
        waiting: list[str] = []
        self._write(_name(self.plan, self.index, 0), self.member.opened, written)
        count = len(self.plan.members)
        for step in range(1, count):
            self._pass_on((self.index - step) % count, step, written, waiting)
        last = self._received(self.index, count - 1, waiting)
        if last is None:
            return Progress(tuple(written), tuple(waiting))
        closed = self.member.closed(last)
        self._seal(closed, written)
        if not self.exchange.there(COMMON):
            return Progress(tuple(written), (*waiting, COMMON))
        most = self.plan.size * count // self.plan.least
        values = _split(self.exchange.read(COMMON, None, 32 * most, exact=False))
        common = self.member.common(closed, values)
        return Progress(tuple(written), (), common, tuple(values))

    def _pass_on(self, owner: int, step: int, written: list[str], waiting: list[str]) -> None:
        target = _name(self.plan, owner, step)
        points = self._received(owner, step - 1, waiting)
        if points is None or self.exchange.there(target):
            return
        self._once(owner, points)
        self._write(target, lambda: self.member.passed_on(points, owner), written)

    def _once(self, owner: int, points: list[bytes]) -> None:
        """Work on one list of each member: on a second one, others could try further products."""
        name = self.plan.members[self.index]
        path = self.state / f"{name}.passed-{self.plan.members[owner]}"
        seen = sha256(b"".join(points)).digest()
        if not path.exists():
            write_secret(path, seen)
        if read_secret(path) != seen:
            raise InputError(
                f"{self.exchange.folder}: the list of {self.plan.members[owner]} was exchanged"
                f" after {name} had worked on it; ask who did that"
            )

    def _received(self, owner: int, step: int, waiting: list[str]) -> list[bytes] | None:
        """Return a member's list after a step, which the next members in the plan's order write."""
        name = _name(self.plan, owner, step)
        if not self.exchange.there(name):
            waiting.append(name)
            return None
        writer = (owner + step) % len(self.plan.members)
        return _split(self.exchange.read(name, writer, 32 * self.plan.size))

    def _write(self, name: str, make: Callable[[], list[bytes]], written: list[str]) -> None:
        if not self.exchange.there(name):
            self.exchange.write(name, b"".join(make()))
            written.append(name)

    def _seal(self, closed: list[bytes], written: list[str]) -> None:
        member = self.plan.members[self.index]
        name = _sealed(member)
        if self.exchange.there(name):
            return
        once = ExchangeKey(secrets.token_bytes(32))
        shared = once.shared_secret(bytes.fromhex(self.plan.coordinator))
        # Sorted: the order of the list is the order in which its owner knows its products.
        content = b"".join(sorted(closed))
        bound = _bound(self.plan, member)
        box = seal(_key(shared, bound, once.public), content, bound, bytes(NONCE_BYTES))
        self.exchange.write(name, once.public + box)
        written.append(name)


def combine(exchange: Exchange, key: ExchangeKey) -> Progress:
    """Do the coordinator's only step: find the values that enough members share.

    Args:
        exchange: The exchange folder, as the coordinator sees it.
        key: The private key to the public one in the plan.

    Raises:
        InputError: A key is another one, or a member's file is damaged, or signed by none or by
            another.
    """
    plan = exchange.plan
    public = exchange.key.public.hex()
    if (key.public.hex(), public) != (plan.coordinator, plan.coordinator_identity):
        raise InputError(f"{exchange.folder}: the plan names another coordinator's key")
    if exchange.there(COMMON):
        return Progress((), ())
    waiting = [_sealed(m) for m in plan.members if not exchange.there(_sealed(m))]
    if waiting:
        return Progress((), tuple(waiting))
    try:
        lists = [_opened(exchange, index, key) for index in range(len(plan.members))]
        values = combined(plan.intersection, lists)
    except ProtocolError as error:
        raise InputError(f"{exchange.folder}: {error}") from None
    exchange.write(COMMON, b"".join(values))
    return Progress((COMMON,), (), None, tuple(values))


def _opened(exchange: Exchange, index: int, key: ExchangeKey) -> list[bytes]:
    plan = exchange.plan
    name = plan.members[index]
    content = exchange.read(_sealed(name), index, 32 + 32 * plan.size + TAG_BYTES)
    public, box = content[:32], content[32:]
    bound = _bound(plan, name)
    sealing = _key(key.shared_secret(public), bound, public)
    return _split(unseal(sealing, box, bound, bytes(NONCE_BYTES)))


def _key(shared: bytes, bound: bytes, public: bytes) -> bytes:
    return derive_key(shared, label=_SEALED, context=bound + public)


def _bound(plan: AlignmentPlan, name: str) -> bytes:
    return plan.context + name.encode()


def _name(plan: AlignmentPlan, owner: int, step: int) -> str:
    return f"{plan.members[owner]}.{step}.points"


def _sealed(member: str) -> str:
    return f"{member}.sealed"


def _split(content: bytes) -> list[bytes]:
    return [content[at : at + 32] for at in range(0, len(content), 32)]
