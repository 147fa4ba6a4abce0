"""Random schedules of faults, which a seed repeats and a JSON file keeps."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HUB = "coordinator"
BROKER = "broker"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        round: The round that it begins in.
        kind: What happens; see `KINDS`.
        party: To whom: a member, the coordinator or the broker.
        after: Seconds after the beginning of the round.
        seconds: How long it lasts.
        steps: After how many durable steps a kill comes.
    """

    round: int
    kind: str
    party: str
    after: float
    seconds: float
    steps: int = 0


KINDS: Mapping[str, tuple[str, ...]] = {
    "kill": ("member", HUB),
    "freeze": ("member", HUB),
    "full-disk": ("member", HUB),
    "cut": ("member",),
    "slow": ("member",),
    "disorder": ("member",),
    "clock": ("member", HUB),
    "same-folder": ("member",),
    "copied-folder": ("member",),
    "down": (BROKER,),
}
"""Kinds of faults and the roles that they happen to.

`slow` is a line of 1 Mbit/s, `disorder` one that loses, repeats and mixes up; `same-folder` and
`copied-folder` are a second process of a member on its state or on a copy of it.
"""

ON_PROCESSES: Mapping[str, tuple[str, ...]] = {**KINDS, "full-disk": ("member", HUB, BROKER)}
"""What can be played on real processes: a broker's disk too."""


def random_faults(
    seed: int,
    rounds: int,
    members: Sequence[str],
    *,
    kinds: Sequence[str] = (),
    roles: Mapping[str, tuple[str, ...]] = KINDS,
    share: float = 0.7,
    longest: float = 120.0,
) -> list[Fault]:
    """Return a schedule.

    Args:
        seed: Decides it.
        rounds: Number of rounds; the last two are left alone, so that all are there at the end.
        members: Names of the members.
        kinds: Which faults there are; all of `roles` if none is given.
        roles: To whom each can happen.
        share: In which part of the rounds a first fault begins; a second one in half of these.
        longest: Seconds that a fault lasts at most.
    """
    draw = random.Random(seed)
    found = []
    for number in range(1, max(2, rounds - 1)):
        faults = (draw.random() < share) + (draw.random() < share / 2)
        for _ in range(faults):
            kind = draw.choice(list(kinds or roles))
            role = draw.choice(roles[kind])
            party = draw.choice(list(members)) if role == "member" else role
            found.append(
                Fault(
                    number,
                    kind,
                    party,
                    after=round(draw.uniform(0.0, 3.0), 3),
                    seconds=round(min(longest, draw.expovariate(4 / longest)), 3),
                    steps=draw.randint(1, 40),
                )
            )
    return found


def write_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Keep a schedule."""
    path.write_text(json.dumps([asdict(fault) for fault in faults], indent=1), encoding="utf-8")


def read_faults(path: Path) -> list[Fault]:
    """Return the schedule that `write_faults` kept."""
    return [Fault(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]
