"""Who is whose neighbour: the complete graph, or a random Harary graph as in Bell et al. 2020.

Bell, Bonawitz, Gascón, Lepoint and Raykova (CCS 2020, eprint 2020/704) let a member share keys
with k neighbours instead of all. Members stand in a random circle, and each is joined to the
k / 2 on either side. For c members that collude with the coordinator, a degree k and a threshold
t are safe where neither of these happens (docs/specification/protocol.md proves that this is
enough, whomever the coordinator lets drop out once it has seen the graph, and whatever it tells to
whom):

* more than 2t - k - 1 neighbours of an honest member collude, so that two halves of the honest
  ones can give away both of its secrets;
* two runs of k / 2 places on the circle, apart from each other, hold t - k / 2 colluding members
  each, so that the circle can be cut there and the sum of a part shows.

Third, and not for privacy: fewer than t neighbours of a member survive, and the sum is lost.

Places are drawn without replacement, so the tails are hypergeometric; they are computed in
integers. Both events together have probability below 2^-sigma for one draw, and below
2^-(sigma + budget) where the adversary may choose the best of 2^budget draws.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import comb, floor, log2

from securefl_protocols.primitives.entropy import DeterministicEntropy, Entropy, draw
from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.primitives.kdf import derive_key

GRAPH_LABEL = b"securefl/2/neighbour graph"
COMPLETE_UP_TO = 100
COLLUDING = Fraction(1, 3)
"""Members that may collude by default, on every graph: floor(2n/3) + 1 tolerates as many."""

PRIVACY_BITS = 40
GRINDING_BITS = 60
LOSS_BITS = 20

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
            profit from a certain graph can choose by trying; without effect if complete.

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
    members: int,
    gamma: Fraction | float,
    delta: Fraction | float,
    *,
    bits: int = PRIVACY_BITS + GRINDING_BITS,
    eta: int = LOSS_BITS,
) -> tuple[int, int]:
    """Find the smallest even degree, and its smallest threshold, that satisfy all three.

    Args:
        members: n.
        gamma: Largest fraction of members that collude with the coordinator; at least one does.
        delta: Largest fraction of members that drop out without the coordinator's doing.
        bits: The two events that cost privacy have together probability below 2^-bits a draw.
        eta: The event that costs the sum has probability below 2^-eta; it costs no privacy.

    Returns:
        (k, t).

    Raises:
        PlanError: A fraction is no fraction, or only the complete graph would do.
    """
    if members < 2 or not (0 <= gamma < 1 and 0 <= delta < 1):
        raise PlanError("gamma and delta are fractions below one")
    colluding, dropped = colluders(members, gamma), _whole(members, delta)
    for degree in range(2, members - 1, 2):
        threshold = safe_threshold(members, degree, colluding, bits)
        if threshold <= degree and _stays_correct(members, degree, threshold, dropped, eta):
            return degree, threshold
    raise PlanError(f"no sparse graph of {members} members is safe: take the complete graph")


def colluders(members: int, gamma: Fraction | float) -> int:
    """Return how many members a fraction is: rounded down, and never none."""
    return max(1, _whole(members, gamma))


def _whole(members: int, fraction: Fraction | float) -> int:
    # 1/3 as a float is a little less than a third; of 300 members it is still 100.
    return floor(Fraction(fraction).limit_denominator(10**6) * members)


def safe_threshold(members: int, degree: int, colluding: int, bits: int) -> int:
    """Return the smallest t for which both events have probability below 2^-bits.

    It may be larger than the degree; then there is none.
    """
    both = _excess(members - 1, colluding, degree, lambda tail: members * tail, bits + 1)
    pairs = Fraction(members * (members - 1), 2)
    cut = _excess(members, colluding, degree // 2, lambda tail: pairs * tail * tail, bits + 1)
    return max(-(-(degree + both) // 2), degree // 2 + max(cut, 1))


def privacy_bits(members: int, degree: int, threshold: int, colluding: int) -> float:
    """Return b where the two events have together probability 2^-b for one draw."""
    both = members * _tail(members - 1, colluding, degree, 2 * threshold - degree)
    run = _tail(members, colluding, degree // 2, threshold - degree // 2)
    failing = both + Fraction(members * (members - 1), 2) * run * run
    return log2(failing.denominator) - log2(failing.numerator) if failing else float("inf")


def _excess(
    population: int,
    colluding: int,
    drawn: int,
    bound: Callable[[Fraction], Fraction],
    bits: int,
) -> int:
    """Return the smallest s for which `bound` of the chance of s colluders is below 2^-bits."""
    everything, tail, excess = comb(population, drawn), 0, drawn + 1
    while excess > 0:
        tail += comb(colluding, excess - 1) * comb(population - colluding, drawn - excess + 1)
        if bound(Fraction(tail, everything)) * (1 << bits) >= 1:
            break
        excess -= 1
    return excess


def _tail(population: int, colluding: int, drawn: int, least: int) -> Fraction:
    ways = (
        comb(colluding, x) * comb(population - colluding, drawn - x)
        for x in range(max(least, 0), min(drawn, colluding) + 1)
    )
    return Fraction(sum(ways), comb(population, drawn))


def _stays_correct(members: int, degree: int, threshold: int, dropped: int, bits: int) -> bool:
    """Bound the probability that some survivor keeps fewer than t neighbours."""
    others = members - 1
    few = _tail(others, others - dropped, degree, 0) - _tail(
        others, others - dropped, degree, threshold
    )
    return members * few * (1 << bits) < 1
