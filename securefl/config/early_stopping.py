"""When a run may end before its last round: one rule for coordinator, members and auditors."""

from __future__ import annotations

from securefl.config.schema import RunConfig


def ends_early(config: RunConfig, *, last: int, best: int) -> bool:
    """Return whether a run may end after round `last`, with the result of round `best`.

    None of the agreed number of rounds after the best one was better. Under a budget no score may
    decide, and the configuration refuses a patience.
    """
    patience = config.patience
    return patience is not None and best >= 1 and patience <= last - best and last < config.rounds
