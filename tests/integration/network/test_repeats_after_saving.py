"""Whatever a coordinator has saved or restarted in between, a round's sums have one input each."""

import shutil
from itertools import count

import numpy as np
import pytest

from securefl.config.load import load_config
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.member.answers import Phase
from securefl.federation.member.journal import MemberJournal
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.scores.exact import ExactLayout
from securefl.federation.scores.exact_session import sum_exact
from securefl.federation.transport.exchange import Exchange
from securefl.ml.vectors import model_digest
from securefl_protocols.wire.messages import RoundSum
from support.faults.failing_disk import WAYS, Waiting, on_failing_disk
from support.masked_federation import Wire
from support.member_in_process import EPOCH, training
from support.small_runs import SMALL_RATINGS


@pytest.fixture(scope="module")
def prepared(purchases):
    del purchases
    settings = {"mode": "secure", "secure": {"bits": 64}, "rounds": 4}
    return prepare(load_config(None, SMALL_RATINGS | settings))


class World:
    """The members of a small run in their processes, and a coordinator."""

    def __init__(self, folder, prepared):
        self.prepared, config = prepared, prepared.config
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
def world(tmp_path, prepared):
    made = World(tmp_path, prepared)
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


def test_member_that_lost_its_disk_is_restarted(world):
    """Before its first snapshot: it went back to before the start, and refused all questions."""
    world.sum()
    world.victim.stop()
    shutil.rmtree(world.victim.folder)
    world.victim.start()
    earliest = world.victim.member.masked.earliest
    assert earliest == 2
    world.victim.say(m.BaselineRequest(split="test"))
    world.victim.restart()
    assert world.victim.member.masked.earliest == earliest
    assert world.victim.member._gate.phase is Phase.IN_ROUNDS


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_disk_of_a_training_member_fails(tmp_path, prepared, monkeypatch, way):
    """At each third write of a round and its end: it is the same after a restart, and trains once.

    Half a minute of CPU each.
    """
    for at in count(1, 3):
        made = World(tmp_path / str(at), prepared)
        with on_failing_disk(made.victim, monkeypatch) as disk:
            waiting = Waiting(made.victim, disk)
            made.wire.members[made.victim.name] = waiting
            disk.fail(at, **WAYS[way])
            result = made.sum()
            assert set(result.survivors) >= set(made.names[1:])
            for name in made.names:
                made.wire.members[name].handle(m.encode(m.Save(round=1)))
            failed = disk.failed
            disk.free()
            waiting.end()
            before = made.victim.process.member.state()
            assert releases_of(made.victim) == 1
            made.victim.restart()
            assert made.victim.process.member.state() == before
        for party in made.parties.values():
            party.close()
        if not failed:
            assert at > 30
            return


def releases_of(party):
    ledger = party.member.ledger
    return sum(read_entry(data).entry.event.kind == "release" for data in ledger.entries(0))


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


def ended(world, result, number=1):
    """Have all members record the end of the round."""
    change = SecureAggregator(world.consortium).decoded(result).change
    shared = (world.prepared.shared.astype(np.float64) + change).astype(np.float32)
    end = {"survivors": result.survivors, "model": model_digest(shared)}
    request = m.Conclude(round=number, transcript=b"t" * 32, since=0, **end)
    for party in world.parties.values():
        assert isinstance(party.say(request), m.Entries)
    return shared


def requests(party):
    return [question.id for question in party.journal.questions()]


def test_refused_save_is_refused_when_replayed(world):
    """The ledger let it pass then, and all later requests were dropped from the journal."""
    assert isinstance(world.victim.say(m.Save(round=2)), m.Failure)
    ended(world, world.sum())
    before = requests(world.victim)
    for _ in range(2):
        world.victim.restart()
        assert requests(world.victim) == before
    assert not list(world.victim.member.directory.glob("round-*"))


def test_save_killed_before_its_snapshot_is_done_again(world):
    """It is the last request of the journal, and no refused one."""
    ended(world, world.sum())
    assert isinstance(world.victim.say(m.Save(round=1)), m.Done)
    world.victim.asked += 1
    world.victim.journal.add(f"{EPOCH}.1.{world.victim.asked}", m.encode(m.Save(round=1)))
    world.victim.restart()
    assert requests(world.victim) == []


def test_scores_after_a_lost_folder_are_in_no_sum(world):
    """A member that lost its folder entered the exact sum of scores a second time."""
    shared = ended(world, world.sum())
    layout = ExactLayout(world.prepared.task.scored_metrics)
    assert sum_exact(Exchange(world.wire), world.consortium, layout, 1, shared).survivors
    for name in world.names[:-1]:
        party = world.parties[name]
        party.stop()
        party.folder = party.folder.with_name(f"{party.folder.name}-new")
        party.start()
    world.wire.down = lambda name, told: None if name == world.names[-1] else told
    assert isinstance(sum_exact(Exchange(world.wire), world.consortium, layout, 1, shared), str)


def test_round_that_never_began_does_not_end(world):
    """Save of the round behind it then deleted the checkpoint of the real one."""
    world.sum()
    assert isinstance(world.victim.say(m.Save(round=1)), m.Done)
    saved = sorted(world.victim.member.directory.glob("round-*"))
    fields = {"survivors": world.names, "model": b"1" * 32, "transcript": b"t" * 32, "since": 0}
    assert isinstance(world.victim.say(m.Conclude(round=2, **fields)), m.Failure)
    assert isinstance(world.victim.say(m.Save(round=3)), m.Failure)
    assert sorted(world.victim.member.directory.glob("round-*")) == saved


def test_kill_between_checkpoint_and_snapshot_starts_again(world, monkeypatch):
    """The snapshot named a file that the next save had deleted: no start succeeded any more."""
    ended(world, world.sum())
    victim = world.victim
    assert isinstance(victim.say(m.Save(round=1)), m.Done)
    fields = {"survivors": world.names, "model": b"1" * 32, "transcript": b"t" * 32, "since": 0}
    for number in (2, 3):
        victim.say(m.Conclude(round=number, **fields))

    class Killed(BaseException):
        """Ends the process, as a signal does."""

    def killed(*args, **more):
        del args, more
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MemberJournal, "snapshot", killed)
        with pytest.raises(Killed):
            victim.say(m.Save(round=3))
    victim.restart()
    assert isinstance(victim.say(m.Save(round=1)), m.Failure)
    victim.restart()


def test_round_asked_on_and_on_adds_one_entry(world):
    """Each request under a new session number added a signed entry to the ledger."""
    party, cohort = world.victim, world.names
    shared = m.pack_vector(world.prepared.shared)
    counts = []
    for session in range(1, 6):
        request = m.TrainMasked(round=1, shared=shared, cohort=cohort, session=session)
        assert isinstance(party.say(request), m.Protocol)
        counts.append(len(party.member.ledger.entries(0)))
    assert counts[1:] == [counts[0] + 1] * 4
