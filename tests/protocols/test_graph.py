"""The neighbour graph: Bell's rows, and the three conditions computed another way."""

from collections import Counter
from fractions import Fraction
from math import ceil, comb, floor

import pytest

from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.session.graph import (
    _below,
    _permutation,
    colluders,
    default_threshold,
    neighbour_graph,
    privacy_bits,
    smallest_degree,
)

SEED = bytes(range(32))


@pytest.mark.parametrize(
    ("members", "gamma", "delta", "expected"),
    [
        (500, 0.05, 0.05, (66, 51)),
        (1000, 0.05, 0.05, (78, 60)),
        (1000, 0.2, 0.05, (144, 120)),
        (1000, Fraction(1, 3), 0.05, (218, 188)),
    ],
)
def test_the_known_rows(members, gamma, delta, expected):
    assert smallest_degree(members, gamma, delta) == expected


def at_least(population, marked, draws, bound):
    """P[X >= bound] for hypergeometric X, one term after the other."""
    return sum(
        Fraction(comb(marked, x) * comb(population - marked, draws - x), comb(population, draws))
        for x in range(max(bound, 0), min(marked, draws) + 1)
    )


def holds(members, gamma, delta, degree, threshold, bits=100):
    """The conditions of docs/protocol.md, with probabilities as fractions."""
    colluding = max(1, floor(Fraction(str(gamma)) * members))
    dropped = floor(Fraction(str(delta)) * members)
    both = members * at_least(members - 1, colluding, degree, 2 * threshold - degree)
    run = at_least(members, colluding, degree // 2, threshold - degree // 2)
    pairs = Fraction(members * (members - 1), 2)
    lost = 1 - at_least(members - 1, members - 1 - dropped, degree, threshold)
    return (
        degree < 2 * threshold
        and both < Fraction(1, 2 ** (bits + 1))
        and pairs * run * run < Fraction(1, 2 ** (bits + 1))
        and members * lost < Fraction(1, 2**20)
    )


@pytest.mark.parametrize(
    ("members", "gamma", "delta"),
    [(101, 0.05, 0.05), (150, 0.2, 0.1), (200, 0.33, 0.0), (300, 0.0, 0.1), (200, 0.0, 0.0)],
)
def test_no_smaller_degree_or_threshold_satisfies_all_three(members, gamma, delta):
    degree, threshold = smallest_degree(members, gamma, delta)
    assert holds(members, gamma, delta, degree, threshold)
    assert not holds(members, gamma, delta, degree, threshold - 1)
    for smaller in range(2, degree, 2):
        assert not any(holds(members, gamma, delta, smaller, t) for t in range(2, smaller + 1))


@pytest.mark.parametrize(("degree", "threshold"), [(78, 60), (70, 52), (90, 80)])
def test_stated_bits_are_those_of_both_events(degree, threshold):
    colluding = colluders(1000, 0.05)
    both = 1000 * at_least(999, colluding, degree, 2 * threshold - degree)
    run = at_least(1000, colluding, degree // 2, threshold - degree // 2)
    failing = both + Fraction(1000 * 999, 2) * run * run
    stated = privacy_bits(1000, degree, threshold, colluding)
    assert Fraction(2) ** -ceil(stated + 0.01) < failing < Fraction(2) ** -floor(stated - 0.01)


def test_no_fraction_is_rounded_to_no_colluder():
    assert colluders(10, 0.0) == 1
    assert colluders(300, 1 / 3) == colluders(300, Fraction(1, 3)) == 100


def test_a_degree_is_never_zero():
    assert smallest_degree(1000, 0.0, 0.0)[0] >= 2


@pytest.mark.parametrize(
    ("members", "gamma", "delta"),
    [(100, 1.0, 0.0), (100, 0.1, 1.0), (100, -0.1, 0.0), (1, 0.1, 0.1), (60, 0.5, 0.3)],
)
def test_where_no_sparse_graph_is_safe_there_is_an_error(members, gamma, delta):
    with pytest.raises(PlanError):
        smallest_degree(members, gamma, delta)


@pytest.mark.parametrize(("members", "degree"), [(5, 2), (101, 16), (200, 52), (12, 10)])
def test_the_graph_is_regular_symmetric_and_connected(members, degree):
    graph = neighbour_graph(members, degree, SEED)
    assert len(graph) == members
    for member, neighbours in enumerate(graph):
        assert len(set(neighbours)) == degree
        assert list(neighbours) == sorted(neighbours)
        assert member not in neighbours
        assert all(member in graph[neighbour] for neighbour in neighbours)
    reached, frontier = {0}, [0]
    while frontier:
        new = set(graph[frontier.pop()]) - reached
        reached |= new
        frontier.extend(new)
    assert len(reached) == members


@pytest.mark.parametrize("members", [2, 3, 6, 100])
def test_the_complete_graph(members):
    graph = neighbour_graph(members, members - 1, SEED)
    everybody = set(range(members))
    assert all(set(neighbours) == everybody - {i} for i, neighbours in enumerate(graph))


def test_everybody_computes_the_same_graph_and_another_seed_gives_another():
    assert neighbour_graph(120, 20, SEED) == neighbour_graph(120, 20, SEED)
    assert neighbour_graph(120, 20, SEED) != neighbour_graph(120, 20, bytes(32))


@pytest.mark.parametrize(("members", "degree"), [(10, 0), (10, 3), (10, 10), (1, 0), (10, -2)])
def test_graphs_that_do_not_exist(members, degree):
    with pytest.raises(PlanError):
        neighbour_graph(members, degree, SEED)


def test_the_permutation_is_unbiased():
    from securefl_protocols.primitives.entropy import DeterministicEntropy

    stream = DeterministicEntropy(SEED)
    seen = Counter(tuple(_permutation(3, stream)) for _ in range(6000))
    assert len(seen) == 6
    # 1000 each; the standard deviation is 29.
    assert all(abs(count - 1000) < 150 for count in seen.values())


def test_words_beyond_the_last_whole_multiple_are_thrown_away():
    words = iter([b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe"])
    assert _below(3, lambda _: next(words)) == 2
    assert _below(2, lambda _: b"\xff\xff\xff\xff") == 1


@pytest.mark.parametrize(("members", "threshold"), [(2, 2), (3, 3), (5, 4), (9, 7), (100, 67)])
def test_the_default_threshold_is_above_two_thirds(members, threshold):
    assert default_threshold(members) == threshold
    with pytest.raises(PlanError):
        default_threshold(1)
