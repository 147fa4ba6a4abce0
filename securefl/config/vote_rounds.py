"""On which rounds members vote: one rule for coordinator, members, plan and auditors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securefl.config.schema import RunConfig


def is_voted_on(config: RunConfig, number: int) -> bool:
    """Return whether members vote on the model of a round.

    The last round has a vote however seldom there are votes, so that there is a result: a model
    without a vote is none where votes were agreed.
    """
    if config.vote is None:
        return False
    return number == config.rounds or number % config.vote.every == 0


def votes_held(config: RunConfig) -> int:
    """Return how many votes a run holds at most."""
    return sum(is_voted_on(config, number) for number in range(1, config.rounds + 1))
