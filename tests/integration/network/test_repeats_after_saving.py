"""Whatever a coordinator has saved or restarted in between, a round's sums have one input each."""

import numpy as np
import pytest

from securefl.config.load import load_config
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.transport.exchange import Exchange
from securefl_protocols.wire.messages import RoundSum
from support.masked_federation import Wire
from support.member_in_process import training
from support.small_runs import SMALL_RATINGS


class World:
    """The members of a small run in their processes, and a coordinator."""

    def __init__(self, folder):
        config = load_config(None, SMALL_RATINGS | {"mode": "secure", "secure": {"bits": 64}})
        self.prepared = prepare(config)
        self.consortium, keys = local_consortium(self.prepared)
        run = RunDirectory(folder, config)
        specs = member_specs(self.prepared, run, self.consortium, keys)
        self.parties = {spec.name: training(spec, folder / f"state-{spec.name}") for spec in specs}
        self.names = self.consortium.roster.names
        self.victim = self.parties[self.names[0]]
        self.wire = Wire(self.parties)
        for party in self.parties.values():
            party.say(m.StartRun(since=0))

    def sum(self, aggregator=None):
        aggregator = aggregator or SecureAggregator(self.consortium)
        return aggregator.masked_sum(Exchange(self.wire), 1, self.prepared.shared, self.names)


@pytest.fixture
def world(tmp_path, purchases):
    del purchases
    made = World(tmp_path)
    yield made
    for party in made.parties.values():
        party.close()


def coordinates(result):
    return np.asarray(result.total)[: -result.terms.encoding.tail]


def test_round_repeated_after_save_has_one_sum(world):
    """It was trained again from the state after it; the two sums differed in its update."""
    first = world.sum()
    for party in world.parties.values():
        assert isinstance(party.say(m.Save(round=1)), m.Done)
    world.victim.restart()
    again = world.sum()
    assert again.survivors == first.survivors == world.names
    assert np.array_equal(coordinates(again), coordinates(first))


def test_round_saved_in_its_middle_has_one_sum(world, monkeypatch):
    """The sum was withheld from all, and a member that saved then was restarted."""
    sums, garbled = [], [True]

    def down(name, told):
        del name
        if garbled[0] and isinstance(told, m.Protocol) and told.payload[1] == RoundSum.CODE:
            return told.model_copy(update={"payload": told.payload[:-4] + b"\1\2\3\4"})
        return told

    world.wire.down = down
    aggregator = SecureAggregator(world.consortium)
    honest = aggregator._again

    def again(session):
        honest(session)
        sums.append(session.server.result().total.copy())
        garbled[0] = False
        world.victim.say(m.Save(round=1))
        world.victim.restart()

    monkeypatch.setattr(aggregator, "_again", again)
    second = world.sum(aggregator)
    assert second.survivors == world.names
    tail = second.terms.encoding.tail
    assert np.array_equal(sums[0][:-tail], coordinates(second))


def test_another_update_of_a_round_is_not_masked(world, monkeypatch):
    """A member without its training is in no second sum, and says so; the others go on."""
    world.sum()
    assert isinstance(world.victim.say(m.Save(round=1)), m.Done)
    world.victim.restart()
    monkeypatch.setattr(world.victim.process._end.memory, "recall", lambda name: None)
    refused = []

    def up(name, said):
        if isinstance(said, m.Failure):
            refused.append((name, said.error))
        return said

    world.wire.up = up
    with pytest.raises(SecureflError):
        world.sum()
    assert (world.victim.name, "StaleStateError") in refused
