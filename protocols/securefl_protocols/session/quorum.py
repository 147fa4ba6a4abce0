"""Whether enough members are left: for a sum to be learnt, and for every secret to be rebuilt."""

from collections.abc import Set

from securefl_protocols.primitives.errors import TooFewSurvivors
from securefl_protocols.session.plan import SessionPlan


def check_cohort(members: Set[int], least: int, *, step: str) -> None:
    """Checks that a step leaves enough members.

    Raises:
        TooFewSurvivors: Fewer than `least` are left.
    """
    if len(members) < least:
        raise TooFewSurvivors(
            f"after {step}, {len(members)} members are left; the plan wants {least}"
        )


def check_recoverable(
    plan: SessionPlan, dealers: Set[int], holders: Set[int], *, step: str
) -> None:
    """Checks that t holders of everybody's secrets are left.

    In a sparse graph it takes one member that is short of holders to end the round. Leaving
    that member out would not help: the next on the circle would be short instead.

    Args:
        plan: The plan of the session.
        dealers: Whose secrets must be rebuilt.
        holders: Who is left to reveal shares.
        step: In which step, for the error.

    Raises:
        TooFewSurvivors: Somebody's secrets are lost.
    """
    for dealer in sorted(dealers):
        left = len(plan.holders(dealer).keys() & holders)
        if left < plan.threshold:
            raise TooFewSurvivors(
                f"after {step}, {left} members hold shares of member {dealer}'s secrets; "
                f"the threshold is {plan.threshold}"
            )
