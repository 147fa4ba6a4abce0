"""Settings that exclude each other, in one table: each with why no run can have both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from securefl.config.schema import RunConfig

SMALLEST_MASKED_COHORT: Final = 3
"""A sum of two is an update of the other one for each of them."""


@dataclass(frozen=True)
class Excluded:
    """Settings that no run can have together.

    Attributes:
        holds: Returns whether a configuration has them.
        why: What is said then; it begins with the setting to change.
    """

    holds: Callable[[RunConfig], bool]
    why: str


EXCLUDED: Final = (
    Excluded(
        lambda run: run.schedule is not None and run.period is None,
        "schedule: needs data.source = 'files' and a data.period that moves",
    ),
    Excluded(
        lambda run: run.mode == "secure" and run.cohort.minimum < SMALLEST_MASKED_COHORT,
        "cohort.minimum: mode secure needs at least 3 members in a round",
    ),
    Excluded(
        lambda run: run.patience is not None and run.privacy.dp != "none",
        "patience: under a budget no score decides when a run ends",
    ),
    Excluded(
        # In mode plain no member sees a sum, so that nothing it signs would be about one.
        lambda run: run.vote is not None and run.mode != "secure",
        "vote: members vote in mode secure alone",
    ),
    Excluded(
        # A ballot under a budget is about the mean change, which such an optimizer does not add.
        lambda run: (
            run.vote is not None and run.privacy.dp != "none" and run.server.optimizer != "fedavg"
        ),
        "vote: under a budget members vote where server.optimizer is fedavg",
    ),
    Excluded(
        # What a ballot reads is the whole update of the one unit that is to be hidden.
        lambda run: run.vote is not None and run.privacy.unit == "member",
        "vote: where privacy.unit is 'member', a ballot would tell of the unit itself",
    ),
    Excluded(
        lambda run: run.secure.norm is not None and run.mode != "secure",
        "secure.norm: norms are proved of masked inputs, in mode secure alone",
    ),
    Excluded(
        # An input then has noise in it, which is longer than any update that a clip allows.
        lambda run: run.secure.norm is not None and run.privacy.dp != "none",
        "secure.norm: norms are proved of inputs without noise, hence without a budget",
    ),
    Excluded(
        # A unit more or less would move integers by what rounding adds, which no price includes.
        lambda run: run.secure.rounding == "random" and run.privacy.needs_masks,
        "secure.rounding: 'random' is not in the sensitivity of dp = 'distributed'",
    ),
    Excluded(
        lambda run: run.privacy.needs_masks and run.mode != "secure",
        "mode: dp = 'distributed' needs mode 'secure', for a noise share alone hides nobody",
    ),
)


def excluded(run: RunConfig) -> str | None:
    """Return what is wrong with the settings of a run together; None if nothing is."""
    return next((one.why for one in EXCLUDED if one.holds(run)), None)
