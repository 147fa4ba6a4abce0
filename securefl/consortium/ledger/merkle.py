"""The Merkle tree of RFC 9162, sections 2.1.1 to 2.1.5, with SHA-256.

A leaf and an inner node are hashed under prefixes of their own, so that neither can be passed off
as the other. The tree keeps the hash of every complete subtree: a leaf is appended in O(1) on
average, and a root or a proof for any size that the tree ever had costs O(log^2 n).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The hash of a tree without leaves (RFC 9162, section 2.1.1)."""

Proof = tuple[bytes, ...]
"""Hashes of subtrees, 32 bytes each, in the order of the RFC."""


def leaf_hash(data: bytes) -> bytes:
    """The 32 bytes of a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree.

    Args:
        leaf_hashes: The first leaves, as `leaf_hash` gives them.
    """

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        """At level k the hashes of the complete subtrees of 2^k leaves, from the left."""
        for leaf in leaf_hashes:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Adds the hash of a leaf at the right."""
        node, level = leaf, 0
        self._levels[0].append(node)
        while len(self._levels[level]) % 2 == 0:
            node = _node(*self._levels[level][-2:])
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves, 32 bytes; of all where no size is given.

        Raises:
            ValueError: The tree has fewer leaves.
        """
        size = self._checked(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> Proof:
        """PATH(index, D[size]) of section 2.1.3.1.

        Raises:
            ValueError: There is no such leaf among the first `size`.
        """
        size = self._checked(size)
        if not 0 <= index < size:
            raise ValueError(f"no leaf {index} in a tree of {size}")
        return self._path(index, 0, size)

    def consistency_proof(self, old: int, new: int | None = None) -> Proof:
        """PROOF(old, D[new]) of section 2.1.4.1; nothing where the old tree is empty or the new.

        Raises:
            ValueError: The sizes are not ones that the tree had one after the other.
        """
        new = self._checked(new)
        if not 0 <= old <= new:
            raise ValueError(f"a tree of {new} does not follow one of {old}")
        return self._subproof(old, 0, new, whole=True) if old else ()

    def _checked(self, size: int | None) -> int:
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise ValueError(f"the tree has {len(self)} leaves, not {size}")
        return size

    def _subtree(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1) == 0:
            return self._levels[width.bit_length() - 1][start // width]
        middle = start + _split(width)
        return _node(self._subtree(start, middle), self._subtree(middle, end))

    def _path(self, index: int, start: int, end: int) -> Proof:
        if end - start == 1:
            return ()
        middle = start + _split(end - start)
        if index < middle:
            return (*self._path(index, start, middle), self._subtree(middle, end))
        return (*self._path(index, middle, end), self._subtree(start, middle))

    def _subproof(self, old: int, start: int, end: int, *, whole: bool) -> Proof:
        """SUBPROOF of section 2.1.4.1; `whole` is its flag b: the old root is known already."""
        if old == end:
            return () if whole else (self._subtree(start, end),)
        middle = start + _split(end - start)
        if old <= middle:
            left = self._subproof(old, start, middle, whole=whole)
            return (*left, self._subtree(middle, end))
        right = self._subproof(old, middle, end, whole=False)
        return (*right, self._subtree(start, middle))


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << (width - 1).bit_length() - 1


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """MTH of section 2.1.1 over leaves as `leaf_hash` gives them, 32 bytes."""
    return MerkleTree(leaf_hashes).root()


def inclusion_proof(leaf_hashes: Iterable[bytes], index: int) -> Proof:
    """PATH(index, D[n]) of section 2.1.3.1 over all the leaves given.

    Raises:
        ValueError: There is no such leaf.
    """
    return MerkleTree(leaf_hashes).inclusion_proof(index)


def consistency_proof(leaf_hashes: Iterable[bytes], old: int) -> Proof:
    """PROOF(old, D[n]) of section 2.1.4.1 over all the leaves given.

    Raises:
        ValueError: There are fewer leaves than in the old tree.
    """
    return MerkleTree(leaf_hashes).consistency_proof(old)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes
) -> bool:
    """Whether a leaf is the one at `index` of the tree (section 2.1.3.2).

    Args:
        leaf: Its hash, as `leaf_hash` gives it.
        index: Its place, from 0.
        size: How many leaves the tree has.
        proof: What `inclusion_proof` gave, from anybody.
        expected: The root of the tree.
    """
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = _node(sibling, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = _node(node, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and node == expected


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of `new` leaves goes on from that of `old` leaves (section 2.1.4.2).

    The RFC asks for `0 < old < new`; a tree of equal size has to be the same, and an empty one
    comes before all.

    Args:
        old: Leaves of the earlier tree.
        new: Leaves of the later tree.
        old_root: Root of the earlier tree.
        new_root: Root of the later tree.
        proof: What `consistency_proof` gave, from anybody.
    """
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    return bool(path) and _climb(old, new, path) == (old_root, new_root)


def _climb(old: int, new: int, path: list[bytes]) -> tuple[bytes, bytes] | None:
    """The two roots that a proof stands for (section 2.1.4.2, steps 3 to 6), or None."""
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            older, newer = _node(sibling, older), _node(sibling, newer)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            newer = _node(newer, sibling)
        place, last = place >> 1, last >> 1
    return (older, newer) if last == 0 else None
