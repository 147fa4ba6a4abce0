"""A member that is killed around a vote that rejects ends in the state of one that was not."""

import msgpack
import pytest

from securefl.audit.attacks.poison.federations import family_data
from securefl.federation import messages as m
from securefl.federation.aggregation.secure import SecureAggregator
from securefl.federation.member.checkpoint import state_path
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare_data
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.scores.ballots import signed_ballot, vote_of
from securefl.federation.scores.judgement import WORSE
from securefl.federation.transport.exchange import Exchange
from securefl.ml.parameters import local_state
from securefl.ml.tensor_io import read_tensors
from securefl.ml.vectors import model_digest
from securefl_protocols.primitives.signing import SigningKey
from support.masked_federation import Wire
from support.member_in_process import training
from support.vote_setup import voting

pytestmark = pytest.mark.slow
STEPS = ("trained", "voted", "saved", "concluded")


class World:
    """The members of a small federation in their processes, and a coordinator."""

    def __init__(self, folder):
        config = voting(rounds=3)
        self.prepared = prepare_data(config, family_data("ranking", config, 5))
        self.consortium, self.keys = local_consortium(self.prepared)
        run = RunDirectory(folder, config)
        specs = member_specs(self.prepared, run, self.consortium, self.keys)
        self.parties = {spec.name: training(spec, folder / f"state-{spec.name}") for spec in specs}
        self.names = self.consortium.roster.names
        self.victim = self.parties[self.names[0]]
        self.all(m.StartRun(since=0))
        self.aggregator = SecureAggregator(self.consortium)

    def all(self, message):
        return [party.say(message) for party in self.parties.values()]

    def sum(self, number):
        exchange, start = Exchange(Wire(self.parties)), self.prepared.shared
        return self.aggregator.masked_sum(exchange, number, start, self.names)

    def rejected(self, number, killed):
        """Run a round that four of five reject; the first member is killed behind a step."""
        result = self.sum(number)
        self.kill(killed == "trained")
        change = self.aggregator.decoded(result).change
        shared = (self.prepared.shared.astype("f8") + change).astype("f4")
        vote = self.vote(number, model_digest(shared))
        self.victim.say(m.VoteRequest(round=number, shared=m.pack_vector(shared)))
        self.kill(killed == "voted")
        assert all(isinstance(reply, m.Done) for reply in self.all(m.Save(round=number)))
        self.kill(killed == "saved")
        end = m.Conclude(
            round=number,
            survivors=result.survivors,
            model=model_digest(shared),
            transcript=bytes(32),
            since=0,
            vote=vote,
        )
        assert all(isinstance(reply, m.Entries) for reply in self.all(end))
        self.kill(killed == "concluded")

    def vote(self, number, model):
        ballots = dict.fromkeys(self.names[1:], WORSE)
        signatures = {
            name: signed_ballot(self.consortium, SigningKey(self.keys[name]), number, model, said)
            for name, said in ballots.items()
        }
        vote = vote_of(self.consortium, (number, model), ballots, signatures)
        assert vote.rejected
        return vote.packed()

    def kill(self, now):
        if now:
            self.victim.restart()

    def own(self):
        """The victim's own rows and all moments, as bytes."""
        rounds = self.victim.process.member.rounds
        tensors = local_state(rounds.model) | rounds.moments()
        return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}

    def close(self):
        for party in self.parties.values():
            party.close()


def kept_for_votes(member):
    """Bytes of a member's saved states that only votes need."""
    tensors, _ = read_tensors(state_path(member.directory, 1))
    before = sum(part.nbytes for name, part in tensors.items() if name.startswith("before"))
    return before + len(msgpack.packb(member._votes.state()))


def played(folder, killed=""):
    """The victim's state after a rejected round, after training the next one, and a restart."""
    world = World(folder)
    fresh = world.own()
    world.rejected(1, killed)
    ends = [world.own()]
    assert ends[0] == fresh
    world.sum(2)
    ends.append(world.own())
    assert ends[1] != fresh
    update = world.victim.process.member.rounds.update.change.tobytes()
    assert 0 < kept_for_votes(world.victim.process.member) <= world.victim.process.member.vote_room
    world.close()
    return [*ends, update]


@pytest.fixture(scope="module")
def alive(tmp_path_factory):
    return played(tmp_path_factory.mktemp("alive"))


@pytest.mark.parametrize("killed", STEPS)
def test_killed_member_takes_the_rejected_round_back(tmp_path, alive, killed):
    assert played(tmp_path / "run", killed) == alive


def test_attack_brings_the_rejected_round_back_behind_a_restart(tmp_path):
    """A coordinator names the saved state, or the round; neither has what the vote took back."""
    world = World(tmp_path / "run")
    fresh = world.own()
    world.rejected(1, "concluded")
    assert isinstance(world.victim.say(m.Restore(round=1)), m.Done)
    assert world.own() == fresh
    world.victim.restart()
    start = m.pack_vector(world.prepared.shared)
    again = m.TrainMasked(round=1, shared=start, cohort=world.names, session=2)
    assert world.victim.say(again).error == "LedgerError"
    assert world.own() == fresh
    world.close()
