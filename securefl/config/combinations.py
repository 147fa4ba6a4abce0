"""Settings that exclude each other, in one table: each with why no run can have both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from securefl.config.vote_rounds import is_voted_on

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


def _unread_in_votes(
    names: tuple[str, ...], holds: Callable[[RunConfig], bool], why: str
) -> tuple[Excluded, ...]:
    """Return a row for each setting of votes that no ballot reads in such a run."""
    return tuple(
        Excluded(
            lambda run, name=name: (  # type: ignore[misc]
                run.vote is not None and run.vote.first_changed([name]) is not None and holds(run)
            ),
            f"vote.{name}: {why}, and nothing reads it",
        )
        for name in names
    )


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
    *_unread_in_votes(
        ("share",),
        lambda run: run.privacy.dp != "distributed",
        "ballots are paid for with dp = 'distributed' alone",
    ),
    *_unread_in_votes(
        ("cases", "worse", "exposure", "chance"),
        lambda run: run.privacy.dp != "none",
        "under a budget no ballot looks at held-out cases",
    ),
    *_unread_in_votes(
        ("length", "apart", "turn"),
        lambda run: run.privacy.dp == "distributed",
        "with dp = 'distributed' no ballot looks at the mean of the others",
    ),
    *_unread_in_votes(
        ("direction", "length", "apart", "turn", "first"),
        lambda run: run.server.optimizer != "fedavg",
        "where server.optimizer is not fedavg no ballot looks at updates",
    ),
    *_unread_in_votes(
        ("first",),
        lambda run: run.privacy.dp != "none" or not is_voted_on(run, 1),
        "it is about votes on round 1 without a budget, and none is held",
    ),
)


def excluded(run: RunConfig) -> str | None:
    """Return what is wrong with the settings of a run together; None if nothing is."""
    return next((one.why for one in EXCLUDED if one.holds(run)), None)
