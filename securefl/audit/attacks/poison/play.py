"""Rounds of real members, some of them hostile, and what each honest one sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from securefl.audit.attacks.ephemeral_ledger import ledger_context_in
from securefl.audit.attacks.poison.hostile import HostileSpec
from securefl.audit.attacks.poison.purchases import Ints
from securefl.audit.attacks.poison.table import Attack, Targets
from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.federation import messages as m
from securefl.federation.aggregation.base import Aggregate, Aggregator
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.aggregation.sum_figures import SumReader
from securefl.federation.member.member import Member
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import aggregator_of
from securefl.federation.runs.prepare import prepare_data
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.scores.turn import Part, RoundPart, Turn
from securefl.federation.transport.base import Party
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.parameters import shared_slices
from securefl.ml.vectors import FloatVector, model_digest
from securefl.tasks.base import Judged

_MANY = 10
"""Products of an attack on many."""


@dataclass(frozen=True)
class Scene:
    """Who attacks whom.

    Attributes:
        config: The run's configuration.
        data: All members' data, before anything is done to them.
        hostile: Number of hostile members, the first ones of the roster: the largest.
    """

    config: RunConfig
    data: RetailData
    hostile: int

    @property
    def names(self) -> tuple[str, ...]:
        """All members, in roster order."""
        return tuple(tables.name for tables in self.data.members)

    @property
    def attackers(self) -> tuple[str, ...]:
        """The hostile members."""
        return self.names[: self.hostile]

    def targets(self, kind: Targets) -> Ints:
        """Return the ids of an attack's products, int64 [T]; hostile members have agreed on them.

        Promoted are those that honest retailers sell least of all that each of them sells, since
        no list of a retailer has what it does not sell; demoted is what they sell most.
        """
        if kind == "none":
            return np.zeros(0, dtype=np.int64)
        ids = self.data.products["product"].to_numpy(np.int64)
        others = self.data.members[self.hostile :]
        sold = np.array([_sold(tables, ids) for tables in others])
        order = ids[np.lexsort((sold.sum(axis=0), sold.min(axis=0) == 0))]
        best = ids[sold.sum(axis=0).argmax()]
        chosen = {"one own": order[:1], "ten own": order[:_MANY], "one rival's": np.array([best])}
        return np.sort(chosen[kind])


def _sold(tables: RetailerTables, ids: Ints) -> Ints:
    counts = tables.transactions["product"].value_counts()
    sold: Ints = counts.reindex(ids, fill_value=0).to_numpy(np.int64).astype(np.int64)
    return sold


@dataclass(frozen=True)
class Seen:
    """What happened in the rounds of a scene.

    Attributes:
        changes: The mean change of each round, float64 [d].
        samples: Total weight of each round.
        sums: Test metrics of all honest members together, with the last model.
        judged: Honest member to its view of the models before and after each round, when it ended,
            and its own update beside the change.
        targets: Rows of the products that the attack was about, int64 [T].
        model: A model of an honest member, for its shapes.
    """

    changes: tuple[npt.NDArray[np.float64], ...]
    samples: tuple[int, ...]
    sums: MetricSums
    judged: dict[str, list[tuple[Judged, Judged, Turn]]]
    targets: Ints
    model: nn.Module = field(repr=False)

    def exposures(self, targets: Ints) -> list[float]:
        """Return how many of some products (rows, int64 [T]) a list has, after each round."""
        found = []
        for number in range(len(self.changes)):
            views = [judged[number][1] for judged in self.judged.values()]
            lists = [view.lists for view in views if view.lists is not None]
            shown = sum(float(counts[targets].sum()) for counts in lists)
            found.append(shown / max(sum(view.cases for view in views), 1))
        return found


@dataclass(frozen=True)
class _Built:
    """A party that was built already, as the local engine takes it."""

    name: str
    party: Party
    cost: int = 1

    def build(self) -> Party:
        return self.party


def play(scene: Scene, attack: Attack | None, path: Path) -> Seen:
    """Play all rounds of a scene.

    Args:
        scene: Who attacks whom.
        attack: What the hostile members do; None lets them be honest.
        path: A new directory.
    """
    ids = scene.targets("none" if attack is None else attack.targets)
    data = _crafted(scene, attack, ids)
    prepared = prepare_data(scene.config, data)
    products = getattr(prepared.facts, "products", np.zeros(0, dtype=np.int64))
    targets = np.searchsorted(products, ids) if len(ids) else ids
    directory = RunDirectory.create(path, scene.config)
    consortium, identities = local_consortium(prepared)
    custody = ledger_context_in(path / "books")
    parties: dict[str, Member] = {}
    for spec in member_specs(prepared, directory, consortium, identities):
        own = replace(spec, custody=custody)
        if attack is not None and spec.name in scene.attackers:
            own = replace(own, data=own.data if attack.data is None else attack.data(own.data))
            party = HostileSpec(own, attack, targets).build()
        else:
            party = own.build()
        assert isinstance(party, Member)  # no policy stands in the way of a new ledger
        parties[spec.name] = party
    with InProcess([_Built(name, party) for name, party in parties.items()]) as transport:
        exchange = Exchange(transport)
        exchange.ask_all(scene.names, m.StartRun(since=0), m.Entries)
        honest = [parties[name] for name in scene.names if name not in scene.attackers]
        return _seen(scene, (exchange, aggregator_of(consortium)), prepared.shared, honest, targets)


def _crafted(scene: Scene, attack: Attack | None, ids: Ints) -> RetailData:
    """Return the data with what hostile members made of their tables."""
    if attack is None or attack.tables is None:
        return scene.data
    members = [
        attack.tables(tables, ids) if tables.name in scene.attackers else tables
        for tables in scene.data.members
    ]
    return replace(scene.data, members=tuple(members))


def _seen(
    scene: Scene,
    way: tuple[Exchange, Aggregator],
    start: FloatVector,
    honest: Sequence[Member],
    targets: Ints,
) -> Seen:
    """Run all rounds, and have each honest member judge every model when it is new."""
    server, models = ServerOptimizer(scene.config.server, len(start)), [start]
    sums: list[Aggregate] = []
    judged: dict[str, list[tuple[Judged, Judged, Turn]]] = {one.ledger.name: [] for one in honest}
    earlier: dict[str, RoundPart | None] = {}
    reader = SumReader(honest[0].model, scene.config.secure.limit)
    for number in range(1, scene.config.rounds + 1):
        sums.append(way[1].aggregate(way[0], number, models[-1], scene.names))
        models.append(server.apply(models[-1], sums[-1].change))
        _conclude(scene, way[0], sums[-1], (number, models[-1]))
        row = reader.figures(sums[-1].change, sums[-1].samples).row_score
        for one in honest:
            # Beside the local parameters of this round, as in a vote.
            views = one.scoring.judged(models[-2]), one.scoring.judged(models[-1])
            update = one.rounds.update
            assert update is not None
            part = Part(update.samples / sums[-1].samples, len(scene.names))
            name, own = one.ledger.name, (update.change, part)
            now = RoundPart.of(scene.config.server, own, models[-2], models[-1])
            layers = shared_slices(one.model) if number == 1 else ()
            judged[name].append((*views, Turn.of(now, earlier.get(name), row, layers)))
            earlier[name] = now
    last = [one.scoring.score(models[-1], "test", "present") for one in honest]
    return Seen(
        changes=tuple(one.change for one in sums),
        samples=tuple(one.samples for one in sums),
        sums=total(tally for scores in last for tally in scores.values()),
        judged=judged,
        targets=targets,
        model=honest[0].model,
    )


def _conclude(
    scene: Scene, exchange: Exchange, summed: Aggregate, ended: tuple[int, FloatVector]
) -> None:
    """Tell all members how a round ended, without which they enter no other."""
    number, model = ended
    end = m.Conclude(
        round=number,
        survivors=summed.survivors,
        model=model_digest(model),
        transcript=None,
        since=0,
    )
    exchange.ask_all(scene.names, end, m.Entries)
