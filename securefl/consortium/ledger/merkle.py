"""The Merkle tree of RFC 9162, sections 2.1.1 to 2.1.5, with SHA-256.

Leaves and inner nodes are hashed with different prefixes, so that neither can be presented as the
other (second-preimage resistance, section 2.1.1). The tree stores the hash of every complete
subtree: appending a leaf takes amortised O(1), and a root or a proof for any earlier size of the
tree O(log^2 n).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The hash of a tree without leaves (RFC 9162, section 2.1.1)."""

Proof = tuple[bytes, ...]
"""Hashes of subtrees, 32 bytes each, in the order of the RFC."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf, SHA-256(0x00 || data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree.

    Args:
        leaf_hashes: Hashes of the first leaves; see `leaf_hash`.
    """

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        """At index k, the hashes of the complete subtrees of 2^k leaves, from the left."""
        for leaf in leaf_hashes:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Append the hash of a leaf on the right."""
        node, level = leaf, 0
        self._levels[0].append(node)
        while len(self._levels[level]) % 2 == 0:
            node = _node(*self._levels[level][-2:])
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves, 32 bytes; of all leaves by default.

        Raises:
            ValueError: If the tree has fewer leaves.
        """
        size = self._checked(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> Proof:
        """Return PATH(index, D[size]) of section 2.1.3.1.

        Raises:
            ValueError: If there is no such leaf among the first `size`.
        """
        size = self._checked(size)
        if not 0 <= index < size:
            raise ValueError(f"no leaf {index} in a tree of {size}")
        return self._path(index, 0, size)

    def consistency_proof(self, old: int, new: int | None = None) -> Proof:
        """Return PROOF(old, D[new]) of section 2.1.4.1; empty for an empty or unchanged old tree.

        Raises:
            ValueError: If the tree did not have these sizes in this order.
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
        """Return SUBPROOF of section 2.1.4.1; `whole` is its flag b: the old root is known."""
        if old == end:
            return () if whole else (self._subtree(start, end),)
        middle = start + _split(end - start)
        if old <= middle:
            left = self._subproof(old, start, middle, whole=whole)
            return (*left, self._subtree(middle, end))
        right = self._subproof(old, middle, end, whole=False)
        return (*right, self._subtree(start, middle))


def _split(width: int) -> int:
    """Return the largest power of two below `width`."""
    return 1 << (width - 1).bit_length() - 1


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return MTH of section 2.1.1 over leaf hashes, 32 bytes."""
    return MerkleTree(leaf_hashes).root()


def inclusion_proof(leaf_hashes: Iterable[bytes], index: int) -> Proof:
    """Return PATH(index, D[n]) of section 2.1.3.1 over all leaves.

    Raises:
        ValueError: If there is no such leaf.
    """
    return MerkleTree(leaf_hashes).inclusion_proof(index)


def consistency_proof(leaf_hashes: Iterable[bytes], old: int) -> Proof:
    """Return PROOF(old, D[n]) of section 2.1.4.1 over all leaves.

    Raises:
        ValueError: If there are fewer leaves than in the old tree.
    """
    return MerkleTree(leaf_hashes).consistency_proof(old)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes
) -> bool:
    """Verify that a leaf is at `index` of the tree (section 2.1.3.2).

    Args:
        leaf: Hash of the leaf; see `leaf_hash`.
        index: Index of the leaf, from 0.
        size: Number of leaves of the tree.
        proof: Inclusion proof from an untrusted source.
        expected: Trusted root of the tree.
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
    """Verify that the tree of `new` leaves extends that of `old` leaves (section 2.1.4.2).

    The RFC requires `0 < old < new`. In addition, trees of equal size must have equal roots, and
    the empty tree is extended by every tree; both take an empty proof.

    Args:
        old: Number of leaves of the earlier tree.
        new: Number of leaves of the later tree.
        old_root: Root of the earlier tree, 32 bytes.
        new_root: Root of the later tree, 32 bytes.
        proof: Consistency proof from an untrusted source.
    """
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    # For a power of two, the old root is itself the first node of the path (step 2).
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    return bool(path) and _climb(old, new, path) == (old_root, new_root)


def _climb(old: int, new: int, path: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return the two roots that a proof leads to (section 2.1.4.2, steps 3 to 6), or None."""
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
