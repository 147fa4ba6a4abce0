"""Who is whose neighbour: the complete graph, or a random Harary graph as in Bell et al. 2020.

Bell, Bonawitz, Gascón, Lepoint and Raykova (CCS 2020, eprint 2020/704) let a member share
keys with k neighbours instead of all. Three events must be unlikely for a degree k and a
threshold t, where gamma n members collude with the coordinator and delta n drop out:

* the honest survivors fall apart into groups whose sums show;
* more than 2t - k - 1 neighbours of a member collude, so that a coordinator that tells two
  halves of the neighbours different survivor sets gets both shares (semi-malicious case);
* fewer than t neighbours of a member survive, and the sum is lost.

The neighbours of a member are a uniform k-subset of the others, so the tails are exactly
hypergeometric; they are computed in integers. The shares counted are those of the k
neighbours: a member's share of its own secrets is not among them.
"""

from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, floor

from securefl_protocols.primitives.entropy import DeterministicEntropy, Entropy, draw
from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.primitives.kdf import derive_key

COMPLETE_UP_TO = 100
GRAPH_LABEL = b"securefl/1/neighbour graph"

Neighbours = tuple[tuple[int, ...], ...]
"""For each member the indices of its neighbours, ascending."""


def default_threshold(members: int) -> int:
    """Return floor(2n/3) + 1, which tolerates 2t - n - 1 members that collude.

    Raises:
        PlanError: There are fewer than two members.
    """
    if members < 2:
        raise PlanError("a session has at least two members")
    return 2 * members // 3 + 1


def neighbour_graph(members: int, degree: int, seed: bytes) -> Neighbours:
    """Build the graph: complete for degree n - 1, else Harary's under a random permutation.

    Members stand in a random circle, and each is joined to the degree / 2 on either side.

    Args:
        members: n.
        degree: k; n - 1, or an even number below that.
        seed: At least 32 bytes that everybody computes alike, and that nobody who could
            profit from a certain graph can choose by trying.

    Raises:
        PlanError: The degree is odd, or not between 2 and n - 1.
    """
    if members < 2 or not 1 <= degree <= members - 1:
        raise PlanError("a graph has two members, and fewer neighbours than members")
    if degree == members - 1:
        everybody = range(members)
        return tuple(tuple(j for j in everybody if j != i) for i in everybody)
    if degree % 2:
        raise PlanError("the degree of a graph that is not complete is even")
    stream = DeterministicEntropy(derive_key(seed, label=GRAPH_LABEL, context=b""))
    circle = _permutation(members, stream)
    sides = [step for step in range(-degree // 2, degree // 2 + 1) if step]
    table: list[tuple[int, ...]] = [()] * members
    for place, member in enumerate(circle):
        table[member] = tuple(sorted(circle[(place + step) % members] for step in sides))
    return tuple(table)


def _permutation(members: int, stream: Entropy) -> list[int]:
    """Fisher and Yates' shuffle; each place is drawn without bias from 32-bit words."""
    order = list(range(members))
    for last in range(members - 1, 0, -1):
        place = _below(last + 1, stream)
        order[last], order[place] = order[place], order[last]
    return order


def _below(bound: int, stream: Entropy) -> int:
    """Draw from 0 to bound - 1; words beyond the last whole multiple are thrown away."""
    whole = (1 << 32) // bound * bound
    while (word := int.from_bytes(draw(stream, 4), "big")) >= whole:
        pass
    return word % bound


@lru_cache(maxsize=64)
def smallest_degree(
    members: int, gamma: float, delta: float, *, sigma: int = 40, eta: int = 20
) -> tuple[int, int]:
    """Find the smallest even degree, and its smallest threshold, that satisfy all three.

    Args:
        members: n.
        gamma: Largest fraction of members that collude with the coordinator.
        delta: Largest fraction of members that drop out.
        sigma: The two events that cost privacy have together probability below 2^-sigma.
        eta: The event that costs the sum has probability below 2^-eta; it costs no privacy.

    Returns:
        (k, t).

    Raises:
        PlanError: A fraction is no fraction, or only the complete graph would do.
    """
    if members < 2 or not (0 <= gamma < 1 and 0 <= delta < 1):
        raise PlanError("gamma and delta are fractions below one")
    colluding, dropped = (floor(Fraction(str(f)) * members) for f in (gamma, delta))
    for degree in range(2, members - 1, 2):
        if not _stays_connected(members, degree, colluding + dropped, sigma + 1):
            continue
        threshold = _secure_threshold(members, degree, colluding, sigma + 1)
        if threshold <= degree and _stays_correct(members, degree, threshold, dropped, eta):
            return degree, threshold
    raise PlanError(f"no sparse graph of {members} members is safe: take the complete graph")


def _stays_connected(members: int, degree: int, removed: int, bits: int) -> bool:
    """Bound the probability that the removed members split the circle in two places.

    Both places are runs of degree / 2 removed members; the union bound is over the
    n (n - k - 1) / 2 pairs of runs.
    """
    if removed < degree:
        return True
    pairs = members * (members - degree - 1)
    bad = pairs * comb(members - degree, removed - degree)
    return bad << bits < 2 * comb(members, removed)


def _secure_threshold(members: int, degree: int, colluding: int, bits: int) -> int:
    """Return the smallest t such that 2t - k colluding neighbours are unlikely for anybody."""
    others = members - 1
    allowed = comb(others, degree)
    tail, excess = 0, degree + 1
    while excess > 0:
        tail += comb(colluding, excess - 1) * comb(others - colluding, degree - excess + 1)
        if members * tail << bits >= allowed:
            break
        excess -= 1
    return max(ceil(Fraction(degree + excess, 2)), 2)


def _stays_correct(members: int, degree: int, threshold: int, dropped: int, bits: int) -> bool:
    """Bound the probability that some survivor keeps fewer than t neighbours."""
    others = members - 1
    kept = others - dropped
    few = sum(comb(kept, i) * comb(dropped, degree - i) for i in range(threshold))
    return members * few << bits < comb(others, degree)
