"""Poisoned rounds and the members' votes on them: how many are found, and how many honest ones are.

Each federation is trained honestly once. In every round, each attack is played on the saved honest
update of one member: its update is exchanged in the sum, and all others vote on the model that
follows, by the code and the default figures of `[vote]`. The hostile member accepts everything. So
a case is one round that was attacked after honest ones, and "rejected" is the share in which the
quorum rejects it in that very round. Honest rounds are voted on in the same way. "harm" is how much
HR@10 of the other retailers' test cases the attacked model loses against the honest one of the same
round: the mean over all rounds, and over those that were not rejected.

`ranking` is the real data under the packaged settings (five retailers of 246 to 767 customers):
model mf without a budget, the private model under one. `small ranking`, `demand` and `churn` are
the generated federations of `securefl audit attack --poison`; of ten members, two are hostile. The
figures of a vote were chosen on seeds 0, 4 and 5, and `turn` with seeds 1 to 3, which are measured,
in sight; docs/explanation/poisoning.md has seeds that were not.

`played` are whole runs of the real data without a budget, with real consequences: a hostile member
attacks in the first round, in every third, or in each; rejected rounds are repeated from the last
accepted model, own rows and moments too, and after more than the agreed repeats the run stops.
"left" is the HR@10 of the others that an honest run of as many accepted rounds has more than the
run's last accepted model, each beside the own rows of then.
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
from securefl.federation.aggregation.sum_figures import SumReader
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.scores.judgement import ABSTAIN, ACCEPT, BALLOTS, ROW, Judge, rejected
from securefl.federation.scores.noised_judgement import PublicChange, noised_ballot
from securefl.federation.scores.turn import Part, RoundPart, Turn
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import shared_parameters, shared_slices
from securefl.ml.seeds import derive_seed
from securefl.ml.vectors import model_digest
from securefl.privacy.vote_plan import grid_shift, projection_noise

SEEDS = (1, 2, 3)
EVERY_PLACE = ("scale", "sign-flip", "promote-ten", "noise")
LARGEST_ALONE = ("promote-one", "demote", "drift", "free-ride", "weight")
PLACES = {"largest": (0,), "middle": (2,), "smallest": (4,)}
PAIRS = {"two largest": (0, 1), "two middle": (4, 5), "two smallest": (8, 9)}
CASES = [
    ("ranking", "none"),
    ("ranking", "epsilon 8"),
    ("ranking", "epsilon 2"),
    ("small ranking", "none"),
    ("small ranking of ten", "none"),
    ("demand", "none"),
    ("churn", "none"),
]
PATTERNS = {"round 1": {1}, "every third round": {2, 5, 8}, "each round": set(range(1, 11))}
PLAYED = [
    ("sign-flip", "smallest", "round 1"),
    ("sign-flip", "smallest", "each round"),
    ("scale", "smallest", "every third round"),
    ("sign-flip", "largest", "every third round"),
    ("sign-flip", "smallest", "every third round"),
    ("promote-ten", "largest", "every third round"),
    ("scale", "largest", "every third round"),
    ("promote-ten", "smallest", "every third round"),
]


def rows(quick: bool) -> list[Row]:
    every = CASES[3:] if quick else CASES
    jobs = [(task, privacy, seed) for task, privacy in every for seed in SEEDS[: 1 if quick else 3]]
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(voted, *zip(*jobs, strict=True)))
        played = [] if quick else [one for runs in pool.map(played_runs, SEEDS) for one in runs]
    return case_rows(found) + played_rows(played)


def case_rows(runs: list[dict[str, Any]]) -> list[Row]:
    """Return the rows of all attacked and honest rounds, over all seeds of a case."""
    return [
        Row(f"{task}, {privacy}: {name}", figures)
        for task, privacy in dict.fromkeys(tuple(one["case"]) for one in runs)
        for name, figures in _rates([one for one in runs if tuple(one["case"]) == (task, privacy)])
    ]


def played_rows(runs: list[dict[str, Any]]) -> list[Row]:
    """Return the rows of runs that were played out."""
    found = []
    for name in dict.fromkeys(one["name"] for one in runs):
        mine = [one for one in runs if one["name"] == name]
        figures = {
            "seeds": len(mine),
            "attacked rounds": sum(one["attacked"] for one in mine),
            "found": sum(one["found"] for one in mine),
            "honest rounds": sum(one["honest"] for one in mine),
            "false alarms": sum(one["alarms"] for one in mine),
            "accepted": ", ".join(str(one["accepted"]) for one in mine),
            "stopped": sum(one["stopped"] for one in mine),
            "left": ", ".join(f"{one['left']:.4f}" for one in mine if one["accepted"]),
        }
        found.append(Row(f"played: {name}", figures))
    return found


def _rates(runs: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    votes = [vote for run in runs for vote in run["votes"]]
    for name in dict.fromkeys(name for name, *_ in votes):
        mine = [vote[1:] for vote in votes if vote[0] == name]
        found = [against for _, _, against, _ in mine]
        first = [against for number, _, against, _ in mine if number == 1]
        missed = [harm for _, _, against, harm in mine if not against and harm is not None]
        figures = {
            "seeds": len(runs),
            "rounds": len(mine),
            "rejected": round(sum(found) / len(mine), 3),
            "in round 1": f"{sum(first)} of {len(first)}",
            "ballots": _said([said for _, said, *_ in mine]),
        }
        if name != "honest" and runs[0]["hits"]:
            if all(harm is not None for *_, harm in mine):
                figures["harm"] = round(float(np.mean([one[3] for one in mine])), 4)
            figures["harm not found"] = round(float(np.mean(missed)), 4) if missed else None
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
        return family_config(_family(task), _members(task), seed)
    tree: dict[str, Any] = {"seed": seed, "references": {"enabled": False}}
    if privacy == "none":
        return load_config(None, tree | {"model": {"name": "mf"}})
    epsilon = float(privacy.removeprefix("epsilon "))
    tree["privacy"] = {"dp": "distributed", "epsilon": epsilon}
    return load_config(None, tree | {"vote": {}})


def _family(task: str) -> str:
    return task.removeprefix("small ").removesuffix(" of ten")


def _members(task: str) -> int:
    return 10 if task.endswith("of ten") else 5


def _data(task: str, config: RunConfig) -> RetailData:
    if task == "ranking":
        return load(config.data)
    return family_data(_family(task), config, _members(task))


def voted(task: str, privacy: str, seed: int, *, harms: bool = True) -> dict[str, Any]:
    """Return all votes of one federation; without `harms`, the harm of what is not found alone."""
    torch.set_num_threads(1)
    config = _config(task, privacy, seed)
    with tempfile.TemporaryDirectory() as folder:
        votes = list((run := _Run(config, _data(task, config), Path(folder))).votes(harms=harms))
    print(f"{task}, {privacy}, seed {seed} done", file=sys.stderr, flush=True)
    return {"case": (task, privacy), "seed": seed, "votes": votes, "hits": run.hits} | {
        "seen": run.seen
    }


def played_runs(seed: int) -> list[dict[str, Any]]:
    """Return what became of whole runs of the real data without a budget."""
    torch.set_num_threads(1)
    # With the section, members keep what is taken back where a round is rejected.
    config = _config("ranking", "none", seed).model_copy(update={"vote": VoteSettings()})
    data, found = _data("ranking", config), []
    with tempfile.TemporaryDirectory() as folder:
        honest = _Run(config, data, Path(folder)).played(None, (), set())["scores"]
    for name, word, when in PLAYED:
        places, numbers = PLACES[word], PATTERNS[when]
        with tempfile.TemporaryDirectory() as folder:
            run = _Run(config, data, Path(folder))
            one = run.played(ATTACKS[name], places, numbers)
        others = [n for i, n in enumerate(run.names) if i not in places]
        last = one.pop("scores")[-1]
        one["left"] = run.share(honest[one["accepted"]], others) - run.share(last, others)
        found.append({"name": f"{name} by the {word} in {when}", "seed": seed} | one)
        print(found[-1], file=sys.stderr, flush=True)
    return found


Places = tuple[int, ...]
"""Hostile members, by their place in the roster."""


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
        self.layers, self.first = shared_slices(model), True
        self.shapes = {n: tuple(p.shape) for n, p in shared_parameters(model).items()}
        metric = self.prepared.task.metrics[0]
        settings = config.vote or VoteSettings()
        self.settings, self.judge = settings, Judge(settings, metric.higher_is_better)
        self.reader = SumReader(model, config.secure.limit)
        self.ranked = config.task == "recommendation"
        self.earlier: dict[str, RoundPart | None] = {}
        self.seen: list[Any] = []

    def votes(self, *, harms: bool) -> Iterator[tuple[str, int, list[str], bool, float | None]]:
        """Yield attack and place, round, ballots, whether it is rejected, and the harm."""
        server, shared = self._server(), self.prepared.shared
        for number in range(1, self.config.rounds + 1):
            updates = self._updates(number, shared)
            moments = server.pack()
            after = server.apply(shared, self._mean(updates))
            honest = self.scores(after)
            for name, attack, places in self._attacks():
                changed = self._changed_by(attack, places, updates, (number, shared))
                apart = self._server()
                apart.unpack(moments)
                new = apart.apply(shared, self._mean(changed))
                said, parts = self._said((updates, changed), places, (shared, new), name)
                against, harm = self._rejects(said), None
                if self.ranked and attack is not None and (harms or not against):
                    others = [n for i, n in enumerate(self.names) if i not in places]
                    harm = self.share(honest, others) - self.share(self.scores(new), others)
                if attack is None:
                    kept = parts
                yield name, number, said, against, harm
            shared, self.earlier, self.first = after, kept, False
            if self.ranked:
                self.hits.append(self.share(honest, list(self.names)))

    def played(self, attack: Attack | None, places: Places, when: set[int]) -> dict[str, Any]:
        """Return what becomes of a run in whose rounds `when` an attack is made.

        Its scores are of each accepted model, beside the members' own rows of then; of the last
        one beside those that the run ends with.
        """
        server, shared, in_a_row = self._server(), self.prepared.shared, 0
        scores, found = [self.scores(shared)], []
        for number in range(1, self.config.rounds + 1):
            bad = attack if number in when else None
            updates, moments = self._updates(number, shared), server.pack()
            changed = self._changed_by(bad, places, updates, (number, shared))
            new = server.apply(shared, self._mean(changed))
            said, parts = self._said((updates, changed), places if bad else (), (shared, new), "")
            against = self._rejects(said)
            found.append((bad is not None, against))
            in_a_row = in_a_row + 1 if against else 0
            if against:
                server.unpack(moments)
                for member in self.members.values():
                    member.rounds.take_back(number)
            else:
                shared, self.earlier, self.first = new, parts, False
                scores.append(self.scores(shared))
            if in_a_row > self.settings.repeats:
                break
        return {
            "attacked": sum(bad for bad, _ in found),
            "found": sum(bad and against for bad, against in found),
            "honest": sum(not bad for bad, _ in found),
            "alarms": sum(against and not bad for bad, against in found),
            "accepted": len(scores) - 1,
            "stopped": in_a_row > self.settings.repeats,
            "scores": [*scores[:-1], self.scores(shared)],
        }

    def _server(self) -> ServerOptimizer:
        return ServerOptimizer(self.config.server, len(self.prepared.shared))

    def _updates(self, number: int, shared: np.ndarray) -> dict[str, _Update]:
        return {name: self._update(one, number, shared) for name, one in self.members.items()}

    def _changed_by(
        self, attack: Attack | None, places: Places, updates: Any, at: tuple[int, np.ndarray]
    ) -> dict[str, _Update]:
        hostile = [self.names[place] for place in places if attack is not None]
        bad = {name: self._poisoned(attack, hostile, name, updates, at) for name in hostile}
        return dict(updates) | bad

    def _said(
        self, updates: Any, places: Places, models: Any, name: str
    ) -> tuple[list[str], dict[str, RoundPart | None]]:
        honest, changed = updates
        row = self.reader.figures(self._mean(changed), 0).row_score
        said, parts = [], {}
        for place, one in enumerate(self.names):
            if place in places:
                continue
            part = self._own(one, honest, changed)
            parts[one] = RoundPart.of(self.config.server, part, *models)
            said.append(self._ballot(one, parts[one], models, row, name))
        return said, parts

    def _rejects(self, said: list[str]) -> bool:
        counts = {ballot: said.count(ballot) for ballot in BALLOTS}
        counts[ACCEPT] += len(self.names) - len(said)
        return rejected(counts, self.settings.quorum)

    def _attacks(self) -> Iterator[tuple[str, Attack | None, Places]]:
        yield "honest", None, ()
        places = PLACES if len(self.names) == 5 else PAIRS
        for name in EVERY_PLACE + LARGEST_ALONE:
            attack = ATTACKS[name]
            if attack.about_products and not self.ranked:
                continue
            for word, place in places.items():
                if name in EVERY_PLACE or "largest" in word:
                    yield f"{name} by the {word}", attack, place

    def _update(self, member: Any, number: int, shared: np.ndarray) -> _Update:
        own = number, shared, self.names, model_digest(shared)
        update = member.rounds.update_of(*own)
        return _Update(update.change.astype(np.float64), float(update.samples))

    def _mean(self, updates: dict[str, _Update]) -> np.ndarray:
        weight = sum(one.weight for one in updates.values())
        return sum(one.weight * one.change for one in updates.values()) / weight

    def _poisoned(
        self,
        attack: Any,
        hostile: list[str],
        name: str,
        updates: dict[str, _Update],
        at: tuple[int, np.ndarray],
    ) -> _Update:
        own = updates[name]
        if attack.update is None:
            return own
        members = sorted(self.data.members, key=lambda tables: tables.name not in hostile)
        scene = Scene(self.config, replace(self.data, members=tuple(members)), len(hostile))
        ids = scene.targets(attack.targets)
        products = getattr(self.prepared.facts, "products", np.zeros(0, dtype=np.int64))
        view = View(
            change=own.change,
            shared=at[1],
            layout=self.shapes,
            targets=np.searchsorted(products, ids) if len(ids) else ids,
            members=len(self.names),
            rng=np.random.default_rng(derive_seed(self.config.seed, "poison", at[0])),
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

    def _ballot(
        self, name: str, now: RoundPart | None, models: Any, row: float, attack: str
    ) -> str:
        member = self.members[name]
        if self.config.privacy.dp == "distributed":
            most = self.settings.row
            return ROW if most is not None and row > most else self._noised(member, *models)
        layers = self.layers if self.first and self.config.privacy.dp == "none" else ()
        turn = Turn.of(now, self.earlier.get(name), row, layers)
        self.seen.append((attack, name, turn.direction, turn.length, turn.apart, turn.turned, row))
        return self.judge.by_update(turn)

    def _noised(self, member: Any, began: np.ndarray, ended: np.ndarray) -> str:
        trainer = member.rounds.trainer
        code, members = trainer.plan.code, len(self.names)
        noise = projection_noise(self.config, code.sensitivity.l2)
        change = PublicChange.of(self.config, members, members, began, ended)
        shift = grid_shift(self.config, code.sensitivity.l2)
        if change is None or not change.tells(noise.share_variance**0.5, code.bits - shift):
            return ABSTAIN
        drawn = round(np.random.default_rng().normal(0.0, noise.share_variance**0.5))
        noised = trainer.projection(change.direction, shift) + drawn
        return noised_ballot(self.settings, change, noised, code.bits - shift)

    def scores(self, shared: np.ndarray) -> dict[str, Any]:
        """Return hits and cases of each member's test customers."""
        if not self.ranked:
            return {}
        found = {}
        for name, member in self.members.items():
            tallies = member.scoring.score(shared, "test", "present")
            ratio = total(tallies.values()).ratios["hr@10"]
            found[name] = ratio.value * ratio.denominator, ratio.denominator
        return found

    def share(self, scores: dict[str, Any], names: list[str]) -> float:
        """Return HR@10 of some members together."""
        return float(sum(scores[n][0] for n in names) / sum(scores[n][1] for n in names))


if __name__ == "__main__":
    main(__doc__, rows)
