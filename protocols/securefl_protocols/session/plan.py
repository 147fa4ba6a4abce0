"""The plan of a session: the numbers that all members agree on before it starts.

A member takes the plan from its consortium agreement, never from the coordinator. The digest
of the plan is part of every context, so that members with different plans do not understand
each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Self

from securefl_protocols.primitives.errors import LocalProtocolError, PlanError, RangeError
from securefl_protocols.primitives.ring import RingDtype, RingVector
from securefl_protocols.proofs.norm_terms import NormTerms
from securefl_protocols.session.graph import (
    COLLUDING,
    COMPLETE_UP_TO,
    Neighbours,
    default_threshold,
    neighbour_graph,
    smallest_degree,
)
from securefl_protocols.wire.context import DIGEST_BYTES, labelled_digest
from securefl_protocols.wire.kinds import (
    WITH_DRAW,
    WITH_LAYERS,
    WITH_NORMS,
    WITHOUT_DRAW,
    WITHOUT_LAYERS,
    WITHOUT_NORMS,
)
from securefl_protocols.wire.messages import DEAL_BYTES, Message

PLAN_LABEL = b"securefl/2/plan"
GRAPH_SEED_BYTES = 32
SMALLEST_COHORT = 3
LARGEST_COHORT = 1 << 15
DROPPING = Fraction(1, 20)

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
        graph_seed: 32 bytes that the graph is drawn from, or none: the members of a session draw
            them jointly once all its keys are fixed, so that no party can choose it by trying.
            A complete graph has none.
        dimension: d, coordinates of a member's input, its weight included.
        ring: The ring in which inputs are summed.
        largest_input: Largest absolute value of a coordinate; n times that cannot wrap.
        rounds: How many rounds one session may serve. With one, a dropout's masking key is
            rebuilt (Bonawitz et al. 2017); with more, only its keys of the one round.
        min_members: Fewest members whose sum may be learnt.
        terms: 32 bytes, the digest of what else the members agreed on for this session: the
            structure of the model, the encoding, the training mode.
        layers: How many layers of a member's noise may be taken back, 0 for none; needs the
            complete graph, where every member verifies the signatures of all others.
        norm: What each member proves of its input's length; None for nothing. It needs the
            complete graph, where every member verifies the proofs of all others.
    """

    members: int
    threshold: int
    degree: int
    dimension: int
    ring: RingDtype
    largest_input: int
    rounds: int
    min_members: int
    terms: bytes
    layers: int = 0
    graph_seed: bytes = b""
    norm: NormTerms | None = None

    def __post_init__(self) -> None:
        self._check_cohort()
        if not 1 <= self.dimension <= _LARGEST_DIMENSION:
            raise PlanError("the dimension of a sum is between 1 and 2^28")
        if not 1 <= self.rounds <= _LARGEST_ROUNDS:
            raise PlanError("a session serves between 1 and 2^20 rounds")
        if len(self.terms) != DIGEST_BYTES:
            raise PlanError("the terms are known by a digest of 32 bytes")
        if len(self.graph_seed) not in (0, GRAPH_SEED_BYTES) or (self.complete and self.graph_seed):
            raise PlanError("a graph that is not complete has a seed of 32 bytes, or none yet")
        if self.largest_input < 1 or self.members * self.largest_input > self.ring.largest:
            raise PlanError(f"the sum of {self.members} inputs could wrap in {self.ring} bits")
        if self.norm is not None:
            self._check_norm(self.norm)

    def _check_norm(self, norm: NormTerms) -> None:
        if not self.complete:
            raise PlanError("norms are proved where all members verify all: up to 100 members")
        if self.layers:
            raise PlanError("norms are proved of inputs without noise")
        if norm.coordinates + norm.digits > self.dimension:
            raise PlanError("a norm is proved of coordinates that an input has")

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
        if not 0 <= self.layers <= self.members - self.min_members:
            raise PlanError("a layer of noise is one member that may drop out")
        if self.layers and not self.complete:
            raise PlanError("noise is taken back where all members sign for all: complete graphs")

    @classmethod
    def for_cohort(
        cls,
        *,
        members: int,
        dimension: int,
        ring: RingDtype,
        largest_input: int,
        terms: bytes,
        rounds: int = 1,
        min_members: int | None = None,
        colluding: Fraction | float = COLLUDING,
        dropping: Fraction | float = DROPPING,
        layered: bool = False,
        norm: NormTerms | None = None,
    ) -> Self:
        """Return the plan that suits a cohort.

        Up to 100 members it is the complete graph with t = floor(2n/3) + 1, above the sparse
        graph of the smallest degree that is safe against as many members that collude (the
        complete one where there is none). Members draw it when they open a session.

        Args:
            members: n.
            dimension: d.
            ring: The ring of the sum.
            largest_input: Largest absolute value of a coordinate.
            terms: 32 bytes, the digest of what else was agreed.
            rounds: How many rounds the session serves.
            min_members: Fewest members in a sum; the default is the default threshold.
            colluding: Largest fraction of colluding members; for sparse graphs. The complete
                graph tolerates a third whatever is said here.
            dropping: Largest fraction of dropouts; for sparse graphs.
            layered: Whether noise is taken back for every member that did not drop out.
            norm: What each member proves of its input's length.

        Raises:
            PlanError: The numbers contradict each other or are not safe.
        """
        degree, threshold = _degree_and_threshold(members, colluding, dropping)
        least = max(SMALLEST_COHORT, default_threshold(members))
        fewest = least if min_members is None else min_members
        return cls(
            members=members,
            threshold=threshold,
            degree=degree,
            dimension=dimension,
            ring=ring,
            largest_input=largest_input,
            rounds=rounds,
            min_members=fewest,
            terms=terms,
            layers=members - fewest if layered else 0,
            norm=norm,
        )

    @property
    def complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return self.degree == self.members - 1

    @property
    def awaits_draw(self) -> bool:
        """Whether the members have to draw the graph before the first round."""
        return not self.complete and not self.graph_seed

    def drawn(self, seed: bytes) -> Self:
        """Return the plan with the graph that the members of a session drew: 32 bytes.

        Raises:
            LocalProtocolError: There is nothing to draw.
        """
        if not self.awaits_draw:
            raise LocalProtocolError("the graph of this plan is not to be drawn")
        return replace(self, graph_seed=seed)

    @property
    def vector_bytes(self) -> int:
        """Bytes of a masked vector."""
        return self.dimension * self.ring.wire_bytes

    @property
    def largest_message(self) -> int:
        """Most bytes that any message of the session can have."""
        rows = self.members * (DEAL_BYTES + 64)
        proofs = 0 if self.norm is None else self.members * self.norm.proof_bytes
        return _HEADROOM + max(self.vector_bytes + (rows if self.layers else 0), rows + proofs)

    def speaks(self, kind: type[Message]) -> bool:
        """Whether messages of that kind belong to a session of this plan."""
        layered = WITHOUT_LAYERS if self.layers else WITH_LAYERS
        proven = WITH_NORMS if self.norm is None else WITHOUT_NORMS
        drawn = WITH_DRAW if self.complete else WITHOUT_DRAW
        return kind not in layered | proven | drawn

    def checked_input(self, vector: RingVector) -> RingVector:
        """Return a copy of a member's own input, shape [d].

        Raises:
            LocalProtocolError: It has another shape or dtype.
            RangeError: A coordinate is larger than agreed.
        """
        if vector.dtype != self.ring.dtype or vector.shape != (self.dimension,):
            raise LocalProtocolError(
                f"an input has {self.dimension} coordinates of {self.ring} bits"
            )
        signed = vector.view(self.ring.signed_dtype)
        if int(signed.max()) > self.largest_input or int(signed.min()) < -self.largest_input:
            raise RangeError(f"a coordinate of the input is not within ±{self.largest_input}")
        return vector.copy()

    def neighbours(self, member: int) -> tuple[int, ...]:
        """Return with whom a member shares pairwise masks, ascending.

        Raises:
            LocalProtocolError: The graph is not drawn yet.
        """
        if self.awaits_draw:
            raise LocalProtocolError("the graph of this session is not drawn yet")
        return _graph(self.members, self.degree, self.graph_seed)[member]

    def holders(self, member: int) -> Mapping[int, int]:
        """Return who holds shares of a member's secrets, with the x of each share.

        In the complete graph a member holds a share of its own secrets too, and x is its
        index plus one, as in Bonawitz et al. 2017; in a sparse graph its neighbours do, as
        in Bell et al. 2020. Who holds my shares is whose shares I hold.

        Raises:
            LocalProtocolError: The graph is not drawn yet.
        """
        if self.awaits_draw:
            raise LocalProtocolError("the graph of this session is not drawn yet")
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
            self.layers,
        )
        fields = [number.to_bytes(8, "big") for number in numbers]
        # Without proofs the digest is what it was before there were any.
        norm = [] if self.norm is None else self.norm.fields()
        return labelled_digest(PLAN_LABEL, *fields, self.graph_seed, self.terms, *norm)


def _degree_and_threshold(
    members: int, colluding: Fraction | float, dropping: Fraction | float
) -> tuple[int, int]:
    complete = members - 1, default_threshold(members)
    if members <= COMPLETE_UP_TO:
        return complete
    try:
        return smallest_degree(members, colluding, dropping)
    except PlanError:
        return complete


@lru_cache(maxsize=8)
def _graph(members: int, degree: int, seed: bytes) -> Neighbours:
    return neighbour_graph(members, degree, seed)


@lru_cache(maxsize=1 << 12)
def _holders(members: int, degree: int, seed: bytes, member: int) -> Mapping[int, int]:
    if degree == members - 1:
        return {holder: holder + 1 for holder in range(members)}
    return {holder: x for x, holder in enumerate(_graph(members, degree, seed)[member], 1)}
