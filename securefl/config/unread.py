"""Settings that another setting leaves without effect, in one table, each with why.

Modes, budgets and engines are switched from one run to the next, so that a file may hold what only
another mode reads. What is here is refused by name where a user states it; a packaged default and a
stored configuration may hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from securefl.config.base import Settings
from securefl.config.schema import RunConfig
from securefl.config.vote_rounds import is_voted_on


@dataclass(frozen=True)
class Unread:
    """A setting, and when nothing reads it.

    Attributes:
        setting: Its key, sections before it.
        holds: Returns whether it is not at its default and nothing reads it.
        why: What is said then.
    """

    setting: str
    holds: Callable[[RunConfig], bool]
    why: str


def _no_descent_with_momentum(run: RunConfig) -> bool:
    arms = (run.training, run.references.alone, run.references.pooled)
    return run.training.momentum > 0 and all(arm.optimizer == "adam" for arm in arms)


def _of_votes(
    names: tuple[str, ...], holds: Callable[[RunConfig], bool], why: str
) -> tuple[Unread, ...]:
    """Return a row for each setting of votes that no ballot reads in such a run."""

    def unread_in(run: RunConfig, name: str) -> bool:
        return run.vote is not None and _changed(run.vote, name) and holds(run)

    return tuple(Unread(f"vote.{name}", partial(unread_in, name=name), why) for name in names)


UNREAD: Final = (
    Unread(
        # A run ends after round `last < rounds`, `patience` rounds or more behind a best from 1 on.
        "patience",
        lambda run: run.patience is not None and run.patience > run.rounds - 2,
        "ends a run early only if rounds is two larger at least",
    ),
    Unread("training.momentum", _no_descent_with_momentum, "is read where optimizer is 'sgd'"),
    Unread(
        "server.momentum",
        lambda run: run.server.optimizer == "fedavg" and _changed(run.server, "momentum"),
        "is read where server.optimizer is 'fedavgm' or 'fedadam'",
    ),
    Unread(
        "server.second_moment",
        lambda run: run.server.optimizer != "fedadam" and _changed(run.server, "second_moment"),
        "is read where server.optimizer is 'fedadam'",
    ),
    Unread(
        "server.epsilon",
        lambda run: run.server.optimizer != "fedadam" and _changed(run.server, "epsilon"),
        "is read where server.optimizer is 'fedadam'",
    ),
    Unread(
        "secure.tolerance",
        lambda run: run.secure.bits != "auto" and run.secure.tolerance is not None,
        "is read where secure.bits is 'auto'",
    ),
    Unread(
        "secure.expected_samples",
        lambda run: 0 < run.secure.expected_samples <= run.secure.min_samples,
        "is read where it is above secure.min_samples",
    ),
    Unread(
        "privacy.momentum",
        lambda run: run.privacy.optimizer == "adam" and run.privacy.momentum > 0,
        "is read where privacy.optimizer is 'sgd'",
    ),
    Unread(
        "simulation.dropouts",
        lambda run: any(one.round > run.rounds for one in run.simulation.dropouts),
        "has a dropout in a round after the last",
    ),
    *_of_votes(
        ("share",),
        lambda run: run.privacy.dp != "distributed",
        "is read with dp = 'distributed' alone, where ballots are paid for",
    ),
    *_of_votes(
        ("cases", "worse", "exposure", "chance"),
        lambda run: run.privacy.dp != "none",
        "is read without a budget alone: under one no ballot looks at held-out cases",
    ),
    *_of_votes(
        ("length", "apart", "turn"),
        lambda run: run.privacy.dp == "distributed",
        "is not read with dp = 'distributed': no ballot looks at the mean of the others",
    ),
    *_of_votes(
        ("direction", "length", "apart", "turn", "first"),
        lambda run: run.server.optimizer != "fedavg",
        "is read where server.optimizer is 'fedavg': else no ballot looks at updates",
    ),
    *_of_votes(
        ("first",),
        lambda run: run.privacy.dp != "none" or not is_voted_on(run, 1),
        "is about votes on round 1 without a budget, and none is held",
    ),
)


def unread(run: RunConfig, given: Mapping[str, Any], usual: Mapping[str, Any]) -> str | None:
    """Return what a user states and nothing reads; None if all is read.

    Args:
        run: The whole configuration.
        given: What the user states, as a tree.
        usual: The packaged defaults, as a tree: a file may repeat them.
    """
    for one in UNREAD:
        stated = _at(given, one.setting)
        if stated is not None and stated != _at(usual, one.setting) and one.holds(run):
            return f"{one.setting}: it {one.why}"
    return None


def _changed(section: Settings, name: str) -> bool:
    return section.first_changed([name]) is not None


def _at(tree: Mapping[str, Any], setting: str) -> object:
    """Return the value of a key in a tree; None where there is none."""
    found: object = tree
    for name in setting.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
