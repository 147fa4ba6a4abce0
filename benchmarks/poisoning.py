"""Poisoned rounds and the members' votes on them: how many are found, and how many honest ones are.

Each federation is trained honestly once. In every round, each attack is played on the saved honest
update of one member: its update is exchanged in the sum, and all others vote on the model that
follows, by the code and the default figures of `[vote]`. The hostile member accepts everything. So
a case is one round that was attacked after honest ones, and "rejected" is the share in which the
quorum rejects it in that very round. Honest rounds are voted on in the same way.

`ranking` is the real data under the packaged settings (five retailers of 246 to 767 customers):
model mf without a budget, the private model under one. `small ranking`, `demand` and `churn` are
the generated federations of `securefl audit attack --poison`. The figures of a vote were chosen on
seed 0; seeds 1 to 3 are measured. `hr@10` is that of all retailers' test cases after all honest
rounds, and `one less` after all but one: what is left when one round was rejected.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import Row, main
from securefl.audit.attacks.ephemeral_ledger import ledger_context_in
from securefl.audit.attacks.poison.federations import family_config, family_data
from securefl.audit.attacks.poison.play import Scene
from securefl.audit.attacks.poison.table import ATTACKS, Attack
from securefl.audit.attacks.poison.updates import View
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.config.vote import VoteSettings
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.scores.judgement import (
    ABSTAIN,
    ACCEPT,
    BALLOTS,
    Judge,
    Part,
    Turn,
    rejected,
)
from securefl.federation.scores.noised_judgement import PublicChange, noised_ballot
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import shared_parameters
from securefl.ml.seeds import derive_seed
from securefl.privacy.vote_plan import projection_noise

SEEDS = (1, 2, 3)
EVERY_PLACE = ("scale", "sign-flip", "promote-ten", "noise")
LARGEST_ALONE = ("promote-one", "demote", "drift", "free-ride", "weight")
PLACES = {"largest": 0, "middle": 2, "smallest": 4}
CASES = [
    ("ranking", "none"),
    ("ranking", "epsilon 8"),
    ("ranking", "epsilon 2"),
    ("small ranking", "none"),
    ("demand", "none"),
    ("churn", "none"),
]


def rows(quick: bool) -> list[Row]:
    every = CASES[3:] if quick else CASES
    jobs = [(task, privacy, seed) for task, privacy in every for seed in SEEDS[: 1 if quick else 3]]
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(_voted, *zip(*jobs, strict=True)))
    return [
        Row(f"{task}, {privacy}: {name}", figures)
        for task, privacy in every
        for name, figures in _rates([one for one in found if one["case"] == (task, privacy)])
    ]


def _rates(runs: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    votes = [vote for run in runs for vote in run["votes"]]
    for name in dict.fromkeys(name for name, *_ in votes):
        mine = [(number, said, against) for one, number, said, against in votes if one == name]
        found = [against for _, _, against in mine]
        first = [against for number, _, against in mine if number == 1]
        figures = {
            "rounds": len(mine),
            "rejected": round(sum(found) / len(mine), 3),
            "in round 1": f"{sum(first)} of {len(first)}",
            "ballots": _said([said for _, said, _ in mine]),
        }
        if name == "honest" and runs[0]["hits"]:
            last = [run["hits"][-1] for run in runs]
            before = [run["hits"][-2] for run in runs]
            figures["hr@10"] = round(float(np.mean(last)), 4)
            figures["one less"] = round(float(np.mean(before)), 4)
        yield name, figures


def _said(ballots: list[list[str]]) -> str:
    every = [one for said in ballots for one in said]
    return ", ".join(f"{one} {every.count(one)}" for one in BALLOTS if one in every)


def _config(task: str, privacy: str, seed: int) -> RunConfig:
    if task != "ranking":
        return family_config(task.removeprefix("small "), 5, seed)
    tree: dict[str, Any] = {"seed": seed, "references": {"enabled": False}}
    if privacy == "none":
        return load_config(None, tree | {"model": {"name": "mf"}})
    epsilon = float(privacy.removeprefix("epsilon "))
    tree["privacy"] = {"dp": "distributed", "epsilon": epsilon}
    return load_config(None, tree | {"vote": {}})


def _voted(task: str, privacy: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    config = _config(task, privacy, seed)
    own = task == "ranking"
    data = load(config.data) if own else family_data(task.removeprefix("small "), config, 5)
    with tempfile.TemporaryDirectory() as folder:
        votes = list((run := _Run(config, data, Path(folder))).votes())
    print(f"{task}, {privacy}, seed {seed} done", file=sys.stderr, flush=True)
    return {"case": (task, privacy), "votes": votes, "hits": run.hits}


@dataclass
class _Update:
    change: np.ndarray
    weight: float


class _Run:
    """One federation of real members, trained honestly; its rounds are attacked on the side."""

    def __init__(self, config: RunConfig, data: RetailData, folder: Path) -> None:
        self.config, self.data = config, data
        self.prepared: Prepared = prepare_data(config, data)
        directory = RunDirectory.create(folder / "run", config)
        consortium, identities = local_consortium(self.prepared)
        books, self.hits = ledger_context_in(folder / "books"), []
        self.members: dict[str, Any] = {}
        for spec in member_specs(self.prepared, directory, consortium, identities):
            member = replace(spec, custody=books).build()
            member.ledger.begin(spec.data.units, bytes(32))
            self.members[spec.name] = member
        self.names = tuple(self.members)
        model = next(iter(self.members.values())).model
        self.shapes = {n: tuple(p.shape) for n, p in shared_parameters(model).items()}
        metric = self.prepared.task.metrics[0]
        settings = config.vote or VoteSettings()
        self.settings, self.judge = settings, Judge(settings, metric.higher_is_better)

    def votes(self) -> Iterator[tuple[str, int, list[str], bool]]:
        """Yield attack and place, round, ballots, and whether the model is rejected."""
        size = len(self.prepared.shared)
        server, shared = ServerOptimizer(self.config.server, size), self.prepared.shared
        for number in range(1, self.config.rounds + 1):
            updates = {
                name: self._update(member, number, shared) for name, member in self.members.items()
            }
            mean, moments = self._mean(updates), server.pack()
            base = {}
            for name, attack, place in self._attacks():
                changed = dict(updates)
                if attack is not None:
                    hostile = self.names[place]
                    changed[hostile] = self._poisoned(attack, hostile, updates, shared, number)
                apart = ServerOptimizer(self.config.server, size)
                apart.unpack(moments)
                new = apart.apply(shared, self._mean(changed))
                said = [
                    self._ballot(one, self._own(one, updates, changed), (shared, new), base)
                    for place_of, one in enumerate(self.names)
                    if attack is None or place_of != place
                ]
                counts = {ballot: said.count(ballot) for ballot in BALLOTS}
                counts[ACCEPT] += len(self.names) - len(said)
                yield name, number, said, rejected(counts, self.settings.quorum)
            shared = server.apply(shared, mean)
            self._note_hits(shared)

    def _attacks(self) -> Iterator[tuple[str, Attack | None, int]]:
        yield "honest", None, 0
        ranked = "ranking" in self.config.task or self.config.task == "recommendation"
        for name in EVERY_PLACE + LARGEST_ALONE:
            attack = ATTACKS[name]
            if attack.about_products and not ranked:
                continue
            for word, place in PLACES.items():
                if name in EVERY_PLACE or word == "largest":
                    yield f"{name} by the {word}", attack, place

    def _update(self, member: Any, number: int, shared: np.ndarray) -> _Update:
        update = member.rounds.update_of(number, shared, self.names)
        return _Update(update.change.astype(np.float64), float(update.samples))

    def _mean(self, updates: dict[str, _Update]) -> np.ndarray:
        weight = sum(one.weight for one in updates.values())
        return sum(one.weight * one.change for one in updates.values()) / weight

    def _poisoned(
        self, attack: Attack, hostile: str, updates: dict[str, _Update], shared: np.ndarray, n: int
    ) -> _Update:
        own = updates[hostile]
        if attack.update is None:
            return own
        others = sorted(self.data.members, key=lambda tables: tables.name != hostile)
        ids = Scene(self.config, replace(self.data, members=tuple(others)), 1).targets(
            attack.targets
        )
        products = getattr(self.prepared.facts, "products", np.zeros(0, dtype=np.int64))
        view = View(
            change=own.change,
            shared=shared,
            layout=self.shapes,
            targets=np.searchsorted(products, ids) if len(ids) else ids,
            members=len(self.names),
            rng=np.random.default_rng(derive_seed(self.config.seed, "poison", n)),
        )
        limit = self.config.secure.limit
        bad = np.clip(self._changed(attack, view), -limit, limit)
        # Under a budget every member weighs the same, and no format has room for another weight.
        times = 1 if self.config.privacy.dp != "none" else attack.weight
        return _Update(bad, own.weight * times)

    def _changed(self, attack: Attack, view: View) -> np.ndarray:
        if not attack.about_products or "bias" in self.shapes:
            return attack.update(view)
        change = view.change.copy()  # the private model has no vectors, and popularity for a bias
        pull = {"demote": -6.0, "drift": 0.5}.get(attack.name, 6.0)
        view.part(change, "popularity.weight")[view.targets] = view.members * pull
        return change

    def _own(self, name: str, updates: Any, changed: Any) -> tuple[np.ndarray, Part]:
        total_weight = sum(one.weight for one in changed.values())
        return updates[name].change, Part(updates[name].weight / total_weight, len(changed))

    def _ballot(self, name: str, own: tuple[np.ndarray, Part], models: Any, base: Any) -> str:
        member, (began, ended) = self.members[name], models
        if self.config.privacy.dp == "distributed":
            return self._noised(member, began, ended)
        turn = Turn.of(self.config.server, own, began, ended)
        found = self.judge.by_update(turn)
        if not self.judge.looks_at_cases(found):
            return found
        if name not in base:
            base[name] = member.scoring.judged(began)
        return self.judge.by_cases(member.scoring.judged(ended), base[name])

    def _noised(self, member: Any, began: np.ndarray, ended: np.ndarray) -> str:
        trainer = member.rounds.trainer
        code, members = trainer.plan.code, len(self.names)
        noise = projection_noise(self.config, code.sensitivity.l2)
        change = PublicChange.of(self.config, members, members, began, ended)
        if change is None or not change.tells(noise.share_variance**0.5, code.bits):
            return ABSTAIN
        drawn = round(np.random.default_rng().normal(0.0, noise.share_variance**0.5))
        noised = trainer.projection(change.direction) + drawn
        return noised_ballot(self.settings, change, noised, code.bits)

    def _note_hits(self, shared: np.ndarray) -> None:
        if self.config.task != "recommendation":
            return
        scores = [m.scoring.score(shared, "test", "present") for m in self.members.values()]
        sums = total(tally for one in scores for tally in one.values())
        self.hits.append(sums.ratios["hr@10"].value)


if __name__ == "__main__":
    main(__doc__, rows)
