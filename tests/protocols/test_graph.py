"""The neighbour graph: Bell's rows, and the three conditions computed another way."""

from collections import Counter
from fractions import Fraction
from itertools import combinations
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
from support.paths import page

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
    """The conditions of docs/specification/protocol.md, with probabilities as fractions."""
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


def rows_of_the_specification():
    """n, colluding members, k, t, both bounds, as why-it-is-safe.md states them."""
    text = page("why-it-is-safe.md").read_text(encoding="utf-8")
    table = text.split("| one draw is bad |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


@pytest.mark.parametrize("row", rows_of_the_specification(), ids=lambda row: f"{row[0]} {row[1]}")
def test_table_of_the_specification(row):
    """Every row of degree, threshold and bits is what the package computes."""
    members, colluding = int(row[0]), int(row[1].split()[0])
    percent = int(row[1].split("(")[1].split()[0])
    gamma = Fraction(1, 3) if percent == 33 else Fraction(percent, 100)
    degree, threshold = smallest_degree(members, gamma, 0.05)
    assert colluders(members, gamma) == colluding
    assert [str(degree), str(threshold)] == row[2:4]
    bits = privacy_bits(members, degree, threshold, colluding)
    assert bits >= 100
    never = bits == float("inf")
    assert row[4] == ("never" if never else f"2^-{floor(bits)}")
    assert row[5] == ("never" if never else f"2^-{floor(bits - 60)}")


def test_table_covers_what_was_asked():
    found = {(int(row[0]), row[1].split("(")[1].split()[0]) for row in rows_of_the_specification()}
    assert found == {(n, p) for n in (100, 500, 1000, 5000) for p in ("5", "10", "20", "33")}


def test_theorem_by_search_on_small_circles():
    """Where no two runs hold enough colluders, dropouts cut the circle nowhere.

    Every choice of colluding members and dropouts on a circle of ten: if the honest that are
    left fall apart, and each end of a part has its t signers, the two runs are there.
    """
    members, degree, threshold = 10, 4, 3
    half = degree // 2
    falling_apart = 0
    for colluding in combinations(range(members), 4):
        honest = [m for m in range(members) if m not in colluding]
        for size in range(len(honest)):
            for dropped in combinations(honest, size):
                left = [m for m in honest if m not in dropped]
                parts = parts_of(left, members, half)
                signing = {*left, *colluding}
                if len(parts) < 2 or not all(
                    len(near(m, members, half) & signing) >= threshold for m in left
                ):
                    continue
                falling_apart += 1
                runs = [
                    {(start + step) % members for step in range(half)} for start in range(members)
                ]
                full = [r for r in runs if len(r & set(colluding)) >= threshold - half]
                assert any(not a & b for a in full for b in full)
    assert falling_apart > 0


def near(member, members, half):
    return {(member + step) % members for step in range(-half, half + 1) if step}


def parts_of(left, members, half):
    parts, rest = [], set(left)
    while rest:
        part, frontier = set(), [min(rest)]
        while frontier:
            member = frontier.pop()
            part.add(member)
            frontier.extend((near(member, members, half) & rest) - part)
        parts.append(part)
        rest -= part
    return parts
