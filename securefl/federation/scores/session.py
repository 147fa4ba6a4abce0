"""The session of one sum of scores among all members of an agreement."""

from __future__ import annotations

from typing import Final

from securefl.config.cohort import least_survivors
from securefl.config.score_bounds import SCORES_LABEL
from securefl.consortium.agreement.context import Consortium
from securefl.federation.scores.bounded import Integers
from securefl_protocols.primitives.ring import RingDtype, RingVector
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.context import SessionContext, labelled_digest

RING: Final = RingDtype.UINT64
"""Bounded integers of 2^20 units of 2^12 steps, of any number of members, and noise: below 2^63."""


def scored(model: bytes) -> bytes:
    """Return the digest that a session is opened for, 32 bytes, from that of the scored model.

    Not the model's digest itself: no message of a round's session can stand in one of scores.
    """
    return labelled_digest(SCORES_LABEL, b"model", model)


def ring_vector(integers: Integers) -> RingVector:
    """Return integers as ring elements, uint64 [d]."""
    return integers.astype(RING.signed_dtype).view(RING.dtype)


def score_session(
    consortium: Consortium, scores: bytes, number: int, dimension: int
) -> tuple[SessionPlan, SessionContext]:
    """Return plan and context of a session of one sum of scores among all members."""
    names, agreed = consortium.roster.names, consortium.digest()
    plan = SessionPlan.for_cohort(
        members=len(names),
        dimension=dimension,
        ring=RING,
        largest_input=RING.largest // len(names),
        terms=labelled_digest(
            SCORES_LABEL,
            agreed,
            scores,
            number.to_bytes(8, "big"),
            *(name.encode() for name in names),
        ),
        rounds=1,
        min_members=least_survivors(consortium.config.cohort, len(names)),
    )
    return plan, SessionContext(agreed, consortium.run_id, plan.digest())
