"""The table of attacks: harm at the other members, and what noticed it in which round."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from securefl.audit.attacks.poison.federations import FAMILIES, family_config, family_data
from securefl.audit.attacks.poison.play import Scene, Seen, play
from securefl.audit.attacks.poison.table import ATTACKS, Attack
from securefl.config.vote import VoteSettings
from securefl.federation.aggregation.sum_figures import SumReader, remarks
from securefl.federation.runs.progress import Progress, Silent
from securefl.federation.runs.result import json_ready
from securefl.federation.scores.judgement import ABSTAIN, ACCEPT, BALLOTS, Judge, rejected
from securefl.tasks.registry import create_task

HONEST: Final = "none"
"""The row without an attack."""
SCENES: Final = ((5, 1), (10, 2))
"""Members, and how many of them are hostile."""

NOT_SHOWN: Final = (
    "attacks that nobody tried: a member that knows the vote can stay just below it",
    "real data: these are small federations of generated retailers, unprotected and without noise",
    "who attacked: a sum hides it, from the members as from the coordinator",
)


@dataclass(frozen=True)
class Harm:
    """One row: what an attack did in one scene.

    Attributes:
        family: The task family.
        members: Number of members.
        hostile: How many of them are hostile.
        attack: The attack; "none" where all are honest.
        metric: The decisive metric.
        value: Its value on the test cases of all honest members, after the last round.
        honest: The same where all are honest.
        exposure: How many of the attack's products a list of an honest member's customer has, after
            the round in which the attack gained most; None where it is about none.
        honest_exposure: The same where all are honest.
        vote_round: The first round that the honest members' votes reject; None without one.
        vote_reason: The most frequent reason in it; empty without one.
        sum_round: The first round whose sum is out of the ordinary; None without one.
        rounds: Number of rounds.
    """

    family: str
    members: int
    hostile: int
    attack: str
    metric: str
    value: float
    honest: float
    exposure: float | None
    honest_exposure: float | None
    vote_round: int | None
    vote_reason: str
    sum_round: int | None
    rounds: int


@dataclass(frozen=True)
class PoisonReport:
    """All rows.

    Attributes:
        seed: Seed of data and models.
        rows: One an attack and scene.
    """

    seed: int
    rows: tuple[Harm, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        tree: dict[str, Any] = json_ready(
            {
                "seed": self.seed,
                "attacks": {name: attack.does for name, attack in ATTACKS.items()},
                "rows": [asdict(row) for row in self.rows],
                "not_shown": list(NOT_SHOWN),
            }
        )
        return tree


def poison(
    families: Sequence[str] = tuple(FAMILIES),
    scenes: Sequence[tuple[int, int]] = SCENES,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> PoisonReport:
    """Play every attack on every family that it applies to, on this machine.

    Args:
        families: Task families, of `FAMILIES`.
        scenes: Members, and how many of them are hostile.
        seed: Seed of data and models.
        progress: Receives the progress.
    """
    torch.set_num_threads(1)
    watch, rows = progress or Silent(), []
    for family in families:
        for members, hostile in scenes:
            watch.stage(f"Attacking {family}: {hostile} of {members} members")
            rows += list(_scene_rows(family, members, hostile, seed))
    return PoisonReport(seed, tuple(rows))


def _scene_rows(family: str, members: int, hostile: int, seed: int) -> Iterator[Harm]:
    config = family_config(family, members, seed)
    scene = Scene(config, family_data(family, config, members), hostile)
    honest = _played(scene, None)
    yield _row(family, scene, None, (honest, honest))
    for attack in ATTACKS.values():
        if family == "ranking" or not attack.about_products:
            yield _row(family, scene, attack, (_played(scene, attack), honest))


def _played(scene: Scene, attack: Attack | None) -> Seen:
    with tempfile.TemporaryDirectory(prefix="securefl-poison-") as folder:
        return play(scene, attack, Path(folder) / "run")


def _row(family: str, scene: Scene, attack: Attack | None, seen: tuple[Seen, Seen]) -> Harm:
    found, honest = seen
    metric = create_task(scene.config).metrics[0].name
    vote_round, reason = _voted(scene, found)
    targets = found.targets
    gained = min if attack is not None and attack.targets == "one rival's" else max
    return Harm(
        family=family,
        members=len(scene.names),
        hostile=0 if attack is None else scene.hostile,
        attack=HONEST if attack is None else attack.name,
        metric=metric,
        value=found.sums.ratios[metric].value,
        honest=honest.sums.ratios[metric].value,
        exposure=gained(found.exposures(targets)) if len(targets) else None,
        honest_exposure=gained(honest.exposures(targets)) if len(targets) else None,
        vote_round=vote_round,
        vote_reason=reason,
        sum_round=_remarked(scene, found),
        rounds=len(found.changes),
    )


def _voted(scene: Scene, seen: Seen) -> tuple[int | None, str]:
    """Return the first round that is rejected and why; hostile members accept everything."""
    judge = Judge(VoteSettings(), create_task(scene.config).metrics[0].higher_is_better)
    for number in range(1, len(seen.changes) + 1):
        views = [judged[number - 1] for judged in seen.judged.values()]
        ballots = [judge.ballot(new, began, turn) for began, new, turn in views]
        votes = {ballot: ballots.count(ballot) for ballot in BALLOTS}
        votes[ACCEPT] += len(scene.names) - len(ballots)
        if rejected(votes, VoteSettings().quorum):
            reasons = [ballot for ballot in ballots if ballot not in (ACCEPT, ABSTAIN)]
            return number, max(set(reasons), key=reasons.count)
    return None, ""


def _remarked(scene: Scene, seen: Seen) -> int | None:
    """Return the first round with a remark on its sum."""
    reader = SumReader(seen.model, scene.config.secure.limit)
    figures = [
        reader.figures(change, samples)
        for change, samples in zip(seen.changes, seen.samples, strict=True)
    ]
    flagged = [n for n, one in enumerate(figures, start=1) if remarks(one, figures[: n - 1])]
    return flagged[0] if flagged else None
