"""What a round ends with, for a member and for the coordinator."""

from dataclasses import dataclass

from securefl_protocols.lane import LaneVector


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The sum of one round.

    Attributes:
        round: Number of the round.
        total: Shape [d] in the lane of the plan, the sum of the survivors' inputs modulo 2^b.
        survivors: Whose inputs are in the sum, ascending.
        verified: Whether the tag of the sum was checked, and it fits.
    """

    round: int
    total: LaneVector
    survivors: tuple[int, ...]
    verified: bool
