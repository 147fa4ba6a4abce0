"""A member's vote on a new model: its own held-out cases against what it has seen before.

An attacker lacks the customers of the others, and a sum hides it among all: what every member has
is its own validation cases (BaFFLe, Andreina et al. 2021, where members compare the errors of
classes). A vote is one of `BALLOTS`, and nothing else of the comparison leaves the member.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from securefl.config.vote import VoteSettings
from securefl.federation.scores.turn import Turn

if TYPE_CHECKING:
    from securefl.tasks.base import Judged

ACCEPT: Final = "accept"
ABSTAIN: Final = "abstain"
REASONS: Final = (
    "reject: worse",
    "reject: department",
    "reject: exposure",
    "reject: direction",
    "reject: length",
    "reject: apart",
    "reject: turn",
    "reject: row",
)
WORSE, DEPARTMENT, EXPOSURE, DIRECTION, LENGTH, APART, TURN, ROW = REASONS
BALLOTS: Final = (ACCEPT, *REASONS, ABSTAIN)
"""What a member may say."""
_FEWEST: Final = 20
"""Cases below which a member has no opinion of the whole, and none of a department."""
_OF_MANY: Final = 2.0
"""Departments are many, so that chance moves the worst of them further than the whole."""


@dataclass(frozen=True)
class Judge:
    """One member's judge.

    Attributes:
        settings: What was agreed.
        higher_is_better: Of the decisive metric.
    """

    settings: VoteSettings
    higher_is_better: bool

    def ballot(self, new: Judged, accepted: Judged, turn: Turn) -> str:
        """Return the vote on a model.

        Args:
            new: What the member sees of the new model.
            accepted: The same of the last accepted one.
            turn: Its own update beside the change; it tells a model that is spoiled before it was
                good, of which the cases say nothing yet.
        """
        found = self.by_update(turn)
        return self.by_cases(new, accepted) if self.looks_at_cases(found) else found

    def looks_at_cases(self, by_update: str) -> bool:
        """Return whether cases decide, after what a member's own update says.

        They take two evaluations, and so where the update speaks for a model only if agreed.
        """
        return by_update == ABSTAIN or (by_update == ACCEPT and self.settings.cases)

    def by_update(self, turn: Turn) -> str:
        """Return the vote by a member's own update alone; an abstention where it says nothing."""
        settings = self.settings
        if turn.direction < settings.direction or turn.common < settings.first:
            return DIRECTION
        for value, most, reason in (
            (turn.length, settings.length, LENGTH),
            (turn.apart, settings.apart, APART),
            (turn.turned, settings.turn, TURN),
            (turn.row, math.inf if settings.row is None else settings.row, ROW),
        ):
            if value > most:  # never where it is not a number
                return reason
        return ABSTAIN if math.isnan(turn.direction) else ACCEPT

    def by_cases(self, new: Judged, accepted: Judged) -> str:
        """Return the vote by a member's held-out cases alone; see `ballot`."""
        cases = accepted.parts["all"].denominator
        if not math.isfinite(accepted.parts["all"].value) or cases < _FEWEST:
            return ABSTAIN
        if self._lost(new, accepted, "all") > self._allowed(cases):
            return WORSE
        if self._stands_out(new, accepted):
            return EXPOSURE
        others = [name for name in accepted.parts if name != "all"]
        for name in others:
            cases = accepted.parts[name].denominator
            allowed = _OF_MANY * self._allowed(cases)
            if cases >= _FEWEST and self._lost(new, accepted, name) > allowed:
                return DEPARTMENT
        return ACCEPT

    def _lost(self, new: Judged, accepted: Judged, part: str) -> float:
        """Return which share of the metric was lost; infinite where it is no number any more."""
        before = accepted.parts[part].value
        after = new.parts[part].value if part in new.parts else math.nan
        if not math.isfinite(after):
            return math.inf
        lost = before - after if self.higher_is_better else after - before
        return lost / max(abs(before), 1e-12)

    def _allowed(self, cases: float) -> float:
        """Return the loss that is no reason yet: chance moves few cases further."""
        return self.settings.worse + self.settings.chance / math.sqrt(cases)

    def _stands_out(self, new: Judged, accepted: Judged) -> bool:
        """Return whether a product came into, or left, far more lists than was agreed as usual."""
        before, after = accepted.exposure, new.exposure
        if before is None or after is None or accepted.cases < _FEWEST:
            return False
        allowed = self.settings.exposure + self.settings.chance / math.sqrt(accepted.cases)
        return bool(np.abs(after - before).max(initial=0.0) > allowed)


def rejected(votes: Mapping[str, int], quorum: float) -> bool:
    """Return whether so many of those who voted reject a model that it is not accepted.

    Args:
        votes: Ballot to number of votes.
        quorum: Share of those who did not abstain; at least two members, so that no single one can
            reject.
    """
    against = sum(votes[ballot] for ballot in REASONS)
    cast = against + votes[ACCEPT]
    return against >= 2 and against >= quorum * cast
