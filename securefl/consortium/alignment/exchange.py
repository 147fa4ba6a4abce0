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

from securefl.consortium.alignment.plan import AlignmentPlan, publish, read_plan
from securefl.consortium.keys.key_files import read_secret, write_secret
from securefl.errors import InputError
from securefl.untrusted.files import read_bytes
from securefl_protocols.primitives.errors import ProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.sealing import NONCE_BYTES, TAG_BYTES, seal, unseal
from securefl_protocols.primitives.x25519 import ExchangeKey
from securefl_protocols.session.set_intersection import IntersectionMember, combined

_MAGIC: Final = b"SFALIGN1"
_HEADER: Final = len(_MAGIC) + 32
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


def take_steps(folder: Path, name: str, items: list[bytes], state: Path) -> Progress:
    """Do all of a member's steps that are possible now.

    Args:
        folder: The exchange folder.
        name: The member's name in the plan.
        items: Its set, which must be the same at every call.
        state: The member's own folder: secrets lie in it.

    Raises:
        InputError: The plan has no such member, the set is another one than before, a file of
            another party is damaged, or was exchanged after this member had worked on it.
    """
    plan = read_plan(folder)
    if name not in plan.members:
        raise InputError(f"{folder}: the members are {', '.join(plan.members)}")
    secret = _own_secret(plan, items, state / f"{name}.secret")
    try:
        member = IntersectionMember(plan.intersection, items, secret)
        return _Steps(folder, plan, plan.members.index(name), member, state).taken()
    except ProtocolError as error:
        raise InputError(f"{folder}: {error}") from None


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

    folder: Path
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
        last = self._received(_name(self.plan, self.index, count - 1), waiting)
        if last is None:
            return Progress(tuple(written), tuple(waiting))
        closed = self.member.closed(last)
        self._seal(closed, written)
        values = self._received(COMMON, waiting, exact=False)
        if values is None:
            return Progress(tuple(written), tuple(waiting))
        common = self.member.common(closed, values)
        return Progress(tuple(written), (), common, tuple(values))

    def _pass_on(self, owner: int, step: int, written: list[str], waiting: list[str]) -> None:
        source, target = (_name(self.plan, owner, at) for at in (step - 1, step))
        points = self._received(source, waiting)
        if points is None or (self.folder / target).exists():
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
                f"{self.folder}: the list of {self.plan.members[owner]} was exchanged after"
                f" {name} had worked on it; ask who did that"
            )

    def _received(self, name: str, waiting: list[str], *, exact: bool = True) -> list[bytes] | None:
        path = self.folder / name
        if not path.exists():
            waiting.append(name)
            return None
        return _points(path, self.plan, exact=exact)

    def _write(self, name: str, make: Callable[[], list[bytes]], written: list[str]) -> None:
        path = self.folder / name
        if path.exists():
            return
        publish(path, _message(self.plan, make()))
        written.append(name)

    def _seal(self, closed: list[bytes], written: list[str]) -> None:
        name = self.plan.members[self.index]
        path = self.folder / f"{name}.sealed"
        if path.exists():
            return
        once = ExchangeKey(secrets.token_bytes(32))
        shared = once.shared_secret(bytes.fromhex(self.plan.coordinator))
        # Sorted: the order of the list is the order in which its owner knows its products.
        content = b"".join(sorted(closed))
        bound = _bound(self.plan, name)
        box = seal(_key(shared, bound, once.public), content, bound, bytes(NONCE_BYTES))
        publish(path, _MAGIC + self.plan.context + once.public + box)
        written.append(path.name)


def combine(folder: Path, key: ExchangeKey) -> Progress:
    """Do the coordinator's only step: find the values that enough members share.

    Args:
        folder: The exchange folder.
        key: The private key to the public one in the plan.

    Raises:
        InputError: The key is another one, or a member's file is damaged.
    """
    plan = read_plan(folder)
    if key.public.hex() != plan.coordinator:
        raise InputError(f"{folder}: the plan names another coordinator's key")
    if (folder / COMMON).exists():
        return Progress((), ())
    waiting = [f"{m}.sealed" for m in plan.members if not (folder / f"{m}.sealed").exists()]
    if waiting:
        return Progress((), tuple(waiting))
    try:
        lists = [_opened(folder / f"{m}.sealed", plan, m, key) for m in plan.members]
        values = combined(plan.intersection, lists)
    except ProtocolError as error:
        raise InputError(f"{folder}: {error}") from None
    publish(folder / COMMON, _message(plan, values))
    return Progress((COMMON,), (), None, tuple(values))


def _opened(path: Path, plan: AlignmentPlan, name: str, key: ExchangeKey) -> list[bytes]:
    size = _HEADER + 32 + 32 * plan.size + TAG_BYTES
    content = _body(path, plan, size)
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


def _message(plan: AlignmentPlan, points: list[bytes]) -> bytes:
    return _MAGIC + plan.context + b"".join(points)


def _points(path: Path, plan: AlignmentPlan, *, exact: bool) -> list[bytes]:
    most = plan.size if exact else plan.size * len(plan.members) // plan.least
    body = _body(path, plan, _HEADER + 32 * most)
    if len(body) % 32 or (exact and len(body) != 32 * plan.size):
        raise InputError(f"{path} is damaged: another length than was agreed")
    return _split(body)


def _body(path: Path, plan: AlignmentPlan, largest: int) -> bytes:
    content = read_bytes(path, largest)
    if content[: len(_MAGIC)] != _MAGIC or content[len(_MAGIC) : _HEADER] != plan.context:
        raise InputError(f"{path} is no message of this alignment")
    return content[_HEADER:]


def _split(content: bytes) -> list[bytes]:
    return [content[at : at + 32] for at in range(0, len(content), 32)]
