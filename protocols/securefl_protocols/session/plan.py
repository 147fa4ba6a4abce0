"""The plan of a session: the numbers that all members agree on before it starts.

A member takes the plan from its consortium agreement, never from the coordinator. The digest
of the plan is part of every context, so that members with different plans do not understand
each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.primitives.ring import RingDtype
from securefl_protocols.session.graph import (
    COMPLETE_UP_TO,
    Neighbours,
    default_threshold,
    neighbour_graph,
    smallest_degree,
)
from securefl_protocols.wire.context import DIGEST_BYTES, labelled_digest
from securefl_protocols.wire.messages import DEAL_BYTES, WITH_LAYERS, WITHOUT_LAYERS, Message

PLAN_LABEL = b"securefl/1/plan"
SMALLEST_COHORT = 3
LARGEST_COHORT = 1 << 15

_LARGEST_DIMENSION = 1 << 28
_LARGEST_ROUNDS = 1 << 20
_HEADROOM = 1 << 12


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What the members of one session agreed on.

    Attributes:
        members: n, the size of the roster.
        threshold: t, how many share holders of a member rebuild its secrets.
        degree: k, how many neighbours a member has; n - 1 is the complete graph.
        graph_seed: 32 bytes that the graph is drawn from; drawn jointly by the members when
            they agree, so that nobody could choose it by trying.
        dimension: d, coordinates of a member's input, its weight included.
        ring: The ring in which inputs are summed.
        largest_input: Largest absolute value of a coordinate; n times that cannot wrap.
        rounds: How many rounds one session may serve. With one, a dropout's masking key is
            rebuilt (Bonawitz et al. 2017); with more, only its keys of the one round.
        min_members: Fewest members whose sum may be learnt.
        with_checksum: Whether members check the sum online; needs the complete graph.
        terms: 32 bytes, the digest of what else the members agreed on for this session: the
            structure of the model, the encoding, the training mode.
        layers: How many layers of a member's noise may be taken back, 0 for none; needs the tag.
    """

    members: int
    threshold: int
    degree: int
    graph_seed: bytes
    dimension: int
    ring: RingDtype
    largest_input: int
    rounds: int
    min_members: int
    with_checksum: bool
    terms: bytes
    layers: int = 0

    def __post_init__(self) -> None:
        self._check_cohort()
        if not 1 <= self.dimension <= _LARGEST_DIMENSION:
            raise PlanError("the dimension of a sum is between 1 and 2^28")
        if not 1 <= self.rounds <= _LARGEST_ROUNDS:
            raise PlanError("a session serves between 1 and 2^20 rounds")
        if len(self.graph_seed) != DIGEST_BYTES or len(self.terms) != DIGEST_BYTES:
            raise PlanError("graph seed and terms have 32 bytes")
        if self.largest_input < 1 or self.members * self.largest_input > self.ring.largest:
            raise PlanError(f"the sum of {self.members} inputs could wrap in {self.ring} bits")

    def _check_cohort(self) -> None:
        if not SMALLEST_COHORT <= self.members <= LARGEST_COHORT:
            raise PlanError("a session has between 3 and 32768 members")
        if not SMALLEST_COHORT <= self.min_members <= self.members:
            raise PlanError("fewer than 3 members have no secret sum, more than all do not exist")
        if not 2 <= self.degree <= self.members - 1:
            raise PlanError("a member has at least 2 neighbours, and at most all others")
        if self.degree % 2 and not self.complete:
            raise PlanError("the degree of a graph that is not complete is even")
        holders = self.members if self.complete else self.degree
        if not holders < 2 * self.threshold <= 2 * holders:
            raise PlanError("the threshold is more than half of the share holders, at most all")
        if self.with_checksum and not self.complete:
            raise PlanError("the tag needs the complete graph; use the transcript instead")
        if not 0 <= self.layers <= self.members - self.min_members:
            raise PlanError("a layer of noise is one member that may drop out")
        if self.layers and not self.with_checksum:
            raise PlanError("noise is taken back from a sum that members check; it has no tag")

    @classmethod
    def for_cohort(
        cls,
        *,
        members: int,
        dimension: int,
        ring: RingDtype,
        largest_input: int,
        terms: bytes,
        graph_seed: bytes = bytes(DIGEST_BYTES),
        rounds: int = 1,
        min_members: int | None = None,
        colluding: float = 0.05,
        dropping: float = 0.05,
        layered: bool = False,
    ) -> Self:
        """Return the plan that suits a cohort.

        Up to 100 members it is the complete graph with t = floor(2n/3) + 1 and the tag;
        above, the smallest graph that satisfies the conditions of Bell et al. 2020.

        Args:
            members: n.
            dimension: d.
            ring: The ring of the sum.
            largest_input: Largest absolute value of a coordinate.
            terms: 32 bytes, the digest of what else was agreed.
            graph_seed: 32 bytes; without effect on the complete graph.
            rounds: How many rounds the session serves.
            min_members: Fewest members in a sum; the default is the default threshold.
            colluding: Largest fraction of colluding members; for sparse graphs.
            dropping: Largest fraction of dropouts; for sparse graphs.
            layered: Whether noise is taken back for every member that did not drop out.

        Raises:
            PlanError: The numbers contradict each other or are not safe.
        """
        complete = members <= COMPLETE_UP_TO
        degree, threshold = (
            (members - 1, default_threshold(members))
            if complete
            else smallest_degree(members, colluding, dropping)
        )
        least = max(SMALLEST_COHORT, default_threshold(members))
        fewest = least if min_members is None else min_members
        return cls(
            members=members,
            threshold=threshold,
            degree=degree,
            graph_seed=graph_seed,
            dimension=dimension,
            ring=ring,
            largest_input=largest_input,
            rounds=rounds,
            min_members=fewest,
            with_checksum=complete,
            terms=terms,
            layers=members - fewest if layered else 0,
        )

    @property
    def complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return self.degree == self.members - 1

    @property
    def vector_bytes(self) -> int:
        """Bytes of a masked vector."""
        return self.dimension * self.ring.dtype.itemsize

    @property
    def largest_message(self) -> int:
        """Most bytes that any message of the session can have."""
        rows = self.members * (DEAL_BYTES + 64)
        return _HEADROOM + max(self.vector_bytes + (rows if self.layers else 0), rows)

    def speaks(self, kind: type[Message]) -> bool:
        """Whether messages of that kind belong to a session of this plan."""
        return kind not in (WITHOUT_LAYERS if self.layers else WITH_LAYERS)

    def neighbours(self, member: int) -> tuple[int, ...]:
        """Return with whom a member shares pairwise masks, ascending."""
        return _graph(self.members, self.degree, self.graph_seed)[member]

    def holders(self, member: int) -> Mapping[int, int]:
        """Return who holds shares of a member's secrets, with the x of each share.

        In the complete graph a member holds a share of its own secrets too, and x is its
        index plus one, as in Bonawitz et al. 2017; in a sparse graph its neighbours do, as
        in Bell et al. 2020. Who holds my shares is whose shares I hold.
        """
        return _holders(self.members, self.degree, self.graph_seed, member)

    def digest(self) -> bytes:
        """Return the 32 bytes that stand for the plan in every context."""
        numbers = (
            self.members,
            self.threshold,
            self.degree,
            self.dimension,
            self.ring.value,
            self.largest_input,
            self.rounds,
            self.min_members,
            int(self.with_checksum),
            *([self.layers] if self.layers else []),
        )
        fields = [number.to_bytes(8, "big") for number in numbers]
        return labelled_digest(PLAN_LABEL, *fields, self.graph_seed, self.terms)


@lru_cache(maxsize=8)
def _graph(members: int, degree: int, seed: bytes) -> Neighbours:
    return neighbour_graph(members, degree, seed)


@lru_cache(maxsize=1 << 12)
def _holders(members: int, degree: int, seed: bytes, member: int) -> Mapping[int, int]:
    if degree == members - 1:
        return {holder: holder + 1 for holder in range(members)}
    return {holder: x for x, holder in enumerate(_graph(members, degree, seed)[member], 1)}
