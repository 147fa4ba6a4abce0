"""RFC 9162: its own example, the vectors of Certificate Transparency, and the definitions."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.consortium.ledger import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""Input of the reference tests of Certificate Transparency."""
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
}
"""Leaf (from 0) and size of the tree, to the proof."""


def hashes(count):
    return [merkle.leaf_hash(bytes([n])) for n in range(count)]


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def defined_root(leaves):
    """MTH as section 2.1.1 writes it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node(defined_root(leaves[:k]), defined_root(leaves[k:]))


def test_the_roots_are_those_of_certificate_transparency():
    leaves = [merkle.leaf_hash(data) for data in LEAVES]
    assert [merkle.root(leaves[:n]).hex() for n in range(1, 9)] == ROOTS
    assert merkle.root([]).hex() == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_the_paths_are_those_of_certificate_transparency(index, size):
    leaves = [merkle.leaf_hash(data) for data in LEAVES[:size]]
    assert tuple(h.hex() for h in merkle.inclusion_proof(leaves, index)) == PATHS[index, size]


def test_the_example_of_section_2_1_5():
    leaves = hashes(7)
    a, b, c, d, e, f, j = leaves
    g, h, i = node(a, b), node(c, d), node(e, f)
    k, l = node(g, h), node(i, j)  # noqa: E741 - the names of the RFC
    assert merkle.root(leaves) == node(k, l)
    assert merkle.inclusion_proof(leaves, 0) == (b, h, l)
    assert merkle.inclusion_proof(leaves, 3) == (c, g, l)
    assert merkle.inclusion_proof(leaves, 4) == (f, j, k)
    assert merkle.inclusion_proof(leaves, 6) == (i, k)
    assert merkle.root(leaves[:3]) == node(g, c)
    assert merkle.root(leaves[:4]) == k
    assert merkle.root(leaves[:6]) == node(k, i)
    assert merkle.consistency_proof(leaves, 3) == (c, d, g, l)
    assert merkle.consistency_proof(leaves, 4) == (l,)
    assert merkle.consistency_proof(leaves, 6) == (i, j, k)


def test_every_size_has_the_root_of_the_definition_also_looked_back_at():
    leaves, tree = hashes(70), merkle.MerkleTree()
    for leaf in leaves:
        tree.append(leaf)
    assert [tree.root(n) for n in range(71)] == [defined_root(leaves[:n]) for n in range(71)]
    assert len(tree) == 70


def test_every_leaf_is_proved_and_at_its_place_alone():
    leaves = hashes(17)
    for size in range(1, 18):
        tree = merkle.MerkleTree(leaves[:size])
        top = tree.root()
        for index in range(size):
            proof = tree.inclusion_proof(index)
            holds = [
                merkle.verify_inclusion(leaves[n], place, size, proof, top)
                for n in range(size)
                for place in range(size + 1)
            ]
            assert sum(holds) == 1
            assert merkle.verify_inclusion(leaves[index], index, size, proof, top)


def test_every_older_tree_is_proved_and_no_other():
    leaves = hashes(17)
    tree = merkle.MerkleTree(leaves)
    roots = [tree.root(n) for n in range(18)]
    for new in range(1, 18):
        for old in range(1, new + 1):
            proof = tree.consistency_proof(old, new)
            holds = {
                n
                for n in range(1, 18)
                if merkle.verify_consistency(n, new, roots[n], roots[new], proof)
            }
            assert old in holds
            assert not merkle.verify_consistency(old, new, roots[old - 1], roots[new], proof)
            assert not merkle.verify_consistency(old, new, roots[old], roots[new - 1], proof)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_changed_proof_proves_nothing(data):
    size = data.draw(st.integers(2, 40))
    leaves = hashes(size)
    tree = merkle.MerkleTree(leaves)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size - 1))
    for proof, holds in (
        (
            tree.inclusion_proof(index),
            lambda p: merkle.verify_inclusion(leaves[index], index, size, p, tree.root()),
        ),
        (
            tree.consistency_proof(old),
            lambda p: merkle.verify_consistency(old, size, tree.root(old), tree.root(), p),
        ),
    ):
        assert holds(proof)
        place = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[place][0] ^ 1]) + proof[place][1:]
        assert not holds((*proof[:place], flipped, *proof[place + 1 :]))
        assert not holds(proof[:-1])
        assert not holds((*proof, bytes(32)))
        assert not holds(())


def test_equal_and_empty_trees_are_consistent_with_nothing_to_show():
    leaves = hashes(3)
    top = merkle.root(leaves)
    assert merkle.verify_consistency(3, 3, top, top, ())
    assert not merkle.verify_consistency(3, 3, top, bytes(32), ())
    assert not merkle.verify_consistency(3, 3, top, top, (top,))
    assert merkle.verify_consistency(0, 3, merkle.EMPTY_ROOT, top, ())
    assert not merkle.verify_consistency(0, 3, top, top, ())
    assert not merkle.verify_consistency(4, 3, top, top, ())
    assert merkle.consistency_proof(leaves, 3) == ()
    assert merkle.consistency_proof(leaves, 0) == ()


def test_what_is_not_in_the_tree_cannot_be_proved():
    tree = merkle.MerkleTree(hashes(3))
    for ask in (
        lambda: tree.root(4),
        lambda: tree.inclusion_proof(3),
        lambda: tree.inclusion_proof(-1),
        lambda: tree.consistency_proof(4),
        lambda: tree.consistency_proof(3, 2),
    ):
        with pytest.raises(ValueError, match=r"tree"):
            ask()


def test_no_leaf_passes_for_a_node():
    left, right = hashes(2)
    assert merkle.leaf_hash(left + right) != merkle.root([left, right])
